"""One run at a time per cluster, whichever machine it runs on: a lock on the cluster's managers.

ansible-playbook's own process takes it (callback_plugins/swarmhub_guard.py), so that it lives for as long as the work,
also where the command is killed. To each manager a connection stays open, on which we say every few seconds that we are
alive. A manager that is away, or that the run itself reboots, is asked again when it is back.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from swarmhub.cluster_lock_program import HELD, UNKNOWN
from swarmhub.connection import Target
from swarmhub.lock import refusal

PROGRAM = Path(__file__).with_name("cluster_lock_program.py")
BEAT = 10.0  # seconds between two words, and between two tries
TIMEOUT = 15.0  # seconds for an answer


class ClusterLock:
    """A lock that is taken, and then kept.

    Attributes:
        refusal: who else holds it, in a sentence; empty as long as we hold what can be held.
    """

    def __init__(self, managers: Sequence[Target], name: str, holder: str) -> None:
        """Begin to take it, on all managers at once."""
        self.refusal = ""
        self._count = len(managers)
        self._arguments = ["-c", PROGRAM.read_text(encoding="utf-8"), name, holder]
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for manager in managers:
            threading.Thread(target=self._keep, args=[manager], daemon=True).start()

    def taken(self) -> bool:
        """Wait for the managers; return whether most of them are ours.

        Nobody else can have most of them, too: who is away costs no time then. With fewer, others may be at work.
        """
        held = 0
        with contextlib.suppress(queue.Empty):
            for _ in range(self._count):
                held += self._answers.get(timeout=TIMEOUT)
                if self.refusal or held > self._count / 2:
                    break
        return held > self._count / 2

    def _keep(self, manager: Target) -> None:
        while not self.refusal:
            with contextlib.suppress(OSError):
                self._hold(manager)
            self._answers.put(False)
            time.sleep(BEAT)

    def _hold(self, manager: Target) -> None:
        """Hold it there until the connection ends, or somebody else is found to hold it."""
        # In a session of its own: Ctrl-C at the terminal is not for it.
        process = subprocess.Popen(
            manager.arguments([manager.python, *self._arguments]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, encoding="utf-8", bufsize=1, start_new_session=True,
        )  # fmt: skip
        with process:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("pipes were asked for")
            # A login may print lines of its own before.
            lines = (line.strip() for line in process.stdout)
            answer = next((line for line in lines if line in (HELD, UNKNOWN) or line.startswith("{")), "")
            if answer not in (HELD, ""):
                self.refusal = refusal(manager.name, answer)
            if answer == HELD:
                self._answers.put(True)
            while answer == HELD and process.poll() is None:
                process.stdin.write("\n")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(BEAT)
