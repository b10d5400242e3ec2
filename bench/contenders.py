"""Three ways to the same state: site.yml, pyinfra, and ordinary Ansible."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Run, measure
from tests.e2e.conftest import INVENTORY, ROOT

ANSIBLE = (str(ROOT / ".venv/bin/ansible-playbook"), "--inventory", str(INVENTORY))
PYINFRA = str(ROOT / ".venv-bench/bin/pyinfra")
RESULTS = re.compile(r"^ *Grand total +(?:\d+|-) +(\d+|-)", re.MULTILINE)


@dataclass(frozen=True)
class Contender:
    """One of the ways: its name, its command, and whether a run of it changed something."""

    name: str
    command: tuple[str, ...]
    changed: t.Callable[[Run], bool]
    folder: Path = ROOT
    env: t.Mapping[str, str] | None = None

    def run(self, timeout: float = 900, connected: bool = False) -> Run:
        """Go this way once; with the connections that the last run has left, or with new ones."""
        return measure(self.command, cwd=self.folder, env=self.env, timeout=timeout, connected=connected)


def _ansible_changed(run: Run) -> bool:
    return any(run.changed.values())


def _pyinfra_changed(run: Run) -> bool:
    """By its table of results."""
    found = RESULTS.search(run.output)
    assert found, run.output[-4000:]
    return found[1] not in ("-", "0")


def ours(*arguments: str) -> Contender:
    """Our site.yml with these arguments."""
    return Contender("ours", (*ANSIBLE, "site.yml", *arguments), _ansible_changed)


def pyinfra(desired: Path) -> Contender:
    """pyinfra, by its own operations."""
    command = (PYINFRA, "--yes", "inventory.py", "deploy.py")
    return Contender("pyinfra", command, _pyinfra_changed, ROOT / "bench/pyinfra", {"DESIRED": str(desired)})


def plain(desired: Path) -> Contender:
    """Ansible, a task for each kind of thing."""
    command = (*ANSIBLE, "bench/plain/site.yml", "--extra-vars", f"desired_folder={desired}")
    return Contender("plain", command, _ansible_changed)
