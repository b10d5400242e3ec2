"""What a process of a lab's host costs: the lab's hosts are containers, so this machine's /proc shows it."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 2**20


class Process:
    """One process, by its id on this machine."""

    def __init__(self, pid: int) -> None:
        """Begin to count."""
        self.pid = pid
        self._at, self._ticks = time.monotonic(), self._spent()

    @classmethod
    def of_container(cls, container: str, command: str) -> t.Self:
        """The oldest process of a container whose command line holds ``command``.

        Raises:
            LookupError: there is none.
        """
        for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            try:
                mine = container in (path / "cgroup").read_text() and command in (path / "cmdline").read_text()
                if mine and b"init" not in (path / "comm").read_bytes():
                    return cls(int(path.name))
            except OSError:
                continue  # it has ended
        raise LookupError(f"no process of {container[:12]} has {command} in its command line")

    def cpu(self) -> float:
        """Percent of a core since the last call; 0 when the process is gone."""
        at, ticks = time.monotonic(), self._spent()
        share = max(ticks - self._ticks, 0) / TICKS / (at - self._at) * 100
        self._at, self._ticks = at, ticks
        return share

    def memory(self) -> float:
        """MiB of resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    def _spent(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
