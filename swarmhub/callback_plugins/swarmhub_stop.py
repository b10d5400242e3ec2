"""Ends a run between two tasks once somebody has asked for it, and with the command that drives it.

Raising is what a callback may do before a task is handed to any host: those of the task before have ended by then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: swarmhub_stop
type: aggregate
short_description: End a run between two tasks
description:
  - Ends the run before the next task once the file named by the environment's SWARMHUB_STOP is there.
  - Where the command that started the run is killed, the run is interrupted by the kernel (Linux).
"""

PR_SET_PDEATHSIG = 1


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "swarmhub_stop"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._stop = Path(os.environ["SWARMHUB_STOP"])
        # Else a run whose command was killed would go on, while nobody holds the lock any more.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)

    def _look(self) -> None:
        if self._stop.exists():
            raise KeyboardInterrupt

    def v2_playbook_on_play_start(self, play: t.Any) -> None:  # noqa: ARG002 - Ansible's signature
        """Before a play."""
        self._look()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Before a task."""
        self._look()

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:  # noqa: ARG002
        """Before a handler."""
        self._look()
