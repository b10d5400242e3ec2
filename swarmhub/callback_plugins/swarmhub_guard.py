"""Ties a run to the command that drives it, and keeps other runs off the cluster meanwhile.

Raising is what a callback may do before a task is handed to any host: those of the task before have ended by then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

# Ansible loads this file alone; the rest of the package is beside it, installed or not.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from swarmhub.cluster_lock import ClusterLock
from swarmhub.connection import target
from swarmhub.events import LOCKED, NOTE

DOCUMENTATION = """
name: swarmhub_guard
type: aggregate
short_description: End a run with its command, and hold the cluster's lock
description:
  - Ends the run before the next task once the file named by the environment's SWARMHUB_STOP is there.
  - Interrupts the run within a second where the command that started it, process SWARMHUB_PID, is killed.
  - Takes the lock that SWARMHUB_LOCK describes, where it does, before the first play, and ends the run where somebody
    else has it.
"""

POLL = 0.5  # seconds between two looks for the command
AGAIN = 5.0  # seconds after which an interrupt is repeated: Python drops one that meets a destructor
UNSURE = (
    "no majority of the managers could be asked whether somebody else is at work: "
    "only runs on this machine are surely kept out"
)


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "swarmhub_guard"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._stop = Path(os.environ["SWARMHUB_STOP"])
        self._command = int(os.environ["SWARMHUB_PID"])
        self._lock: ClusterLock | None = None
        threading.Thread(target=self._end_with_command, daemon=True).start()

    def _end_with_command(self) -> None:
        while os.getppid() == self._command:
            time.sleep(POLL)
        while True:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(AGAIN)

    def _look(self) -> None:
        if self._lock and self._lock.refusal:
            self._display.display(LOCKED + self._lock.refusal)
            raise KeyboardInterrupt
        if self._stop.exists() or os.getppid() != self._command:
            raise KeyboardInterrupt

    def _take(self, play: t.Any) -> None:
        """Take the lock; the inventory is at hand here, and nothing has been done yet."""
        variables = play.get_variable_manager().get_vars(play=play)
        managers = [target(name, variables["hostvars"][name]) for name in variables["groups"].get("managers", [])]
        self._lock = ClusterLock(managers, **json.loads(os.environ["SWARMHUB_LOCK"]))
        if not self._lock.taken() and not self._lock.refusal:
            self._display.display(NOTE + UNSURE)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """Before a play."""
        if not self._lock and "SWARMHUB_LOCK" in os.environ:
            self._take(play)
        self._look()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002 - Ansible's signature
        """Before a task."""
        self._look()

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:  # noqa: ARG002
        """Before a handler."""
        self._look()
