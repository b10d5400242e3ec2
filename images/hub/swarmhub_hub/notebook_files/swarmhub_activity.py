"""An extension of every notebook's Jupyter server: what works there without a browser is activity, too.

A server tells the hub when it was last active, and goes by requests and kernels' messages alone: ``nohup python
train.py``, or one long cell, would be idle. So once a minute this looks at the CPU time of the container's processes
and, where these were at rest, at the cards; one that several notebooks share is at work for all of them. The standard
library is enough, since the image is anybody's; Python 3.8 will do.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import threading
import time
import typing as t
from pathlib import Path

#: Seconds between two looks.
INTERVAL = 60
#: Share of one core that is work; a kernel at rest has less than a hundredth.
WORK = 0.05
#: Per cent of a card's time that are work.
CARD_WORK = 5
#: Seconds after which nvidia-smi is given up; it is not asked again before it has ended.
PATIENCE = 20

_TICK = os.sysconf("SC_CLK_TCK")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: t.Any) -> None:
    times = serverapp.web_app.settings["last_activity_times"]
    threading.Thread(target=Watch(times).go_on, name=__name__, daemon=True).start()


def cpu_seconds(but: int, proc: str = "/proc") -> float:
    """Return the CPU time of all processes except the one with the id ``but``, in seconds.

    What has ended counts on, with the process that waited for it: the sum never falls when one ends.
    """
    ticks = 0
    for directory in Path(proc).glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text(errors="replace")
        except OSError:  # it has ended just now
            continue
        # proc_pid_stat(5); a name may hold blanks and brackets.
        own, own_in_kernel, of_children, of_children_in_kernel = map(int, stat.rpartition(")")[2].split()[11:15])
        ticks += of_children + of_children_in_kernel
        if directory.name != str(but):
            ticks += own + own_in_kernel
    return ticks / _TICK


class Watch:
    """Notes activity under a name of its own among those whose latest the server reports."""

    def __init__(self, times: dict[str, datetime.datetime]) -> None:
        """Keep the server's ``last_activity_times``, and begin to count."""
        self._times = times
        self._stuck: subprocess.Popen[bytes] | None = None
        self._begin()

    def go_on(self) -> None:
        """Look as long as the server lives."""
        while True:
            time.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Note whether something has worked since the last look."""
        passed = time.monotonic() - self._since
        if cpu_seconds(os.getpid()) - self._before >= WORK * passed or self._cards_work():
            self._times["swarmhub"] = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017 - not every image has 3.11
        self._begin()  # after nvidia-smi, whose own CPU time is nobody's work

    def _begin(self) -> None:
        self._before, self._since = cpu_seconds(os.getpid()), time.monotonic()

    def _cards_work(self) -> bool:
        if not shutil.which("nvidia-smi") or (self._stuck and self._stuck.poll() is None):
            return False
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            return False
        try:
            said, _ = asked.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            asked.kill()
            self._stuck = asked
            return False
        return any(int(cell) >= CARD_WORK for cell in said.split() if cell.isdigit())
