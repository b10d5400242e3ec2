"""What a command costs: seconds, its phases, memory, and what Ansible did meanwhile."""

from __future__ import annotations

import itertools
import os
import re
import statistics
import subprocess
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import LAB, RECAP, ROOT

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
SAMPLE_SECONDS = 0.1
PLAY = re.compile(r"PLAY (?:\[(.*)\]|RECAP) \*")
TASK = re.compile(r"^(?:ok|changed): \[", re.MULTILINE)


@dataclass
class Run:
    """A command that ended well.

    Attributes:
        phases: seconds that each play took, by name; what came before the first is "start".
        control_mib: the most memory that the process itself had.
        children_mib: the most that its children had together; pages that they share count for each.
    """

    seconds: float
    output: str
    phases: dict[str, float] = field(default_factory=dict)
    control_mib: float = 0.0
    children_mib: float = 0.0

    @property
    def host_tasks(self) -> int:
        """How often a task ran on a host, each item of a loop by itself; of an Ansible run."""
        return len(TASK.findall(self.output))

    @property
    def changed(self) -> dict[str, int]:
        """How much changed on each host; of an Ansible run."""
        return {host: int(changed) for host, _, changed, _, _ in RECAP.findall(self.output)}


def hang_up() -> None:
    """Close the connections that Ansible keeps, so that every run has to make its own."""
    for socket in (LAB / "cp").glob("*"):
        subprocess.run(
            ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "lab"], capture_output=True, timeout=10, check=False
        )


def _memory(pid: int) -> tuple[int, int]:
    """The bytes of memory that a process has, and those of all its descendants."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0, 0  # it has ended
    return own, sum(sum(_memory(int(child))) for child in children)


def measure(
    command: t.Sequence[str],
    *,
    cwd: Path = ROOT,
    env: t.Mapping[str, str] | None = None,
    timeout: float = 900,
    connected: bool = False,
) -> Run:
    """Run a command; unless it may be ``connected``, without any connection that is left from before.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    if not connected:
        hang_up()
    begun = time.monotonic()
    lines: list[tuple[float, str]] = []
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    out = t.cast("t.IO[str]", process.stdout)
    reader = threading.Thread(target=lambda: lines.extend((time.monotonic(), line) for line in out))
    reader.start()
    control = children = 0
    try:
        while process.poll() is None:
            own, others = _memory(process.pid)
            control, children = max(control, own), max(children, others)
            time.sleep(SAMPLE_SECONDS)
            if time.monotonic() - begun > timeout:
                raise RuntimeError(f"{command[0]} took longer than {timeout:.0f} s")
        ended = time.monotonic()
    finally:
        process.kill()
        reader.join()
    output = "".join(line for _, line in lines)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-4000:]}")
    return Run(ended - begun, output, _phases(begun, lines), control / MIB, children / MIB)


def _phases(begun: float, lines: list[tuple[float, str]]) -> dict[str, float]:
    marks = [("start", begun)] + [(match[1] or "end", at) for at, line in lines if (match := PLAY.match(line))]
    return {name: until - at for (name, at), (_, until) in itertools.pairwise(marks)}


def figures(runs: list[Run]) -> dict[str, t.Any]:
    """The medians of equal runs; their phases and tasks are those of the last."""
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 2),
        "all_seconds": [round(run.seconds, 2) for run in runs],
        "control_mib": round(max(run.control_mib for run in runs)),
        "children_mib": round(max(run.children_mib for run in runs)),
        "host_tasks": runs[-1].host_tasks,
        "phases": {name: round(seconds, 2) for name, seconds in runs[-1].phases.items()},
    }
