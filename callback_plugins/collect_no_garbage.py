"""Keeps Python's garbage collector out of Ansible's workers."""

from __future__ import annotations

import gc
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: collect_no_garbage
type: aggregate
short_description: Collect no garbage in workers
description:
  - Ansible forks a worker for each task and host. A collection in it walks all that the controller holds, the
    variables of every host, and so copies the memory that they share. The worker ends before it has garbage worth that.
"""


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "collect_no_garbage"

    def __init__(self) -> None:
        super().__init__()
        os.register_at_fork(after_in_child=gc.disable)
