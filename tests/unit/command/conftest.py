"""What the tests of the command share: recorded events, and small projects on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
import zlib
from pathlib import Path

import pytest

from swarmhub import record
from swarmhub.events import Event, read
from swarmhub.project import Project

ROOT = Path(__file__).resolve().parents[3]
EVENTS = Path(__file__).parent / "events"
Make = t.Callable[..., Project]


def recorded(name: str) -> list[Event]:
    """Events of a small play on this machine, as ansible-runner told them, read as ours."""
    lines = (EVENTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for line in lines if (event := read(json.loads(line)))]


@pytest.fixture
def run(tmp_path: Path) -> record.Run:
    """The kept run of the failing play."""
    return keep(tmp_path, "failing", "failed")


def keep(folder: Path, name: str, outcome: str, playbook: str = "site.yml") -> record.Run:
    recorder = record.Recorder(folder, command="apply", playbook=playbook, inventory=Path("hosts.yml"), check=False)
    for event in recorded(name):
        recorder.add(event)
    return recorder.end(outcome)


@pytest.fixture
def make_project(tmp_path: Path) -> Make:
    """Make a project whose site.yml has these tasks, for two hosts that are this machine; the first is a manager."""

    def make(tasks: str, folder: str = "project") -> Project:
        root = tmp_path / folder
        (root / "inventory" / "secrets").mkdir(parents=True)
        (root / "ansible.cfg").write_text("[defaults]\ninventory = inventory/hosts.yml\nhost_key_checking = true\n")
        hosts = f"""\
all:
  hosts: {{one: , two: }}
  children: {{managers: {{hosts: {{one: }}}}}}
  vars: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}
"""
        (root / "inventory" / "hosts.yml").write_text(hosts)
        (root / "site.yml").write_text(f"- name: The play\n  hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
        return Project(root, root / "inventory" / "hosts.yml")

    return make


def lock_name(folder: Path) -> str:
    """The name of a lock that the clusters of no other test have, or another checkout's tests at the same time."""
    return f"swarmhub-test-{zlib.crc32(str(folder).encode())}"


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start a command in the project's folder."""
    name = lock_name(project.root.parent)
    program = f"from swarmhub import lock; lock.NAME = {name!r}; from swarmhub.cli import app; app()"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}", *arguments]
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return its exit code and what it printed."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(project: Project, task: str) -> None:
    """Wait until a run has begun this task on a host."""
    deadline = time.monotonic() + 30
    while not any('"start", "time"' in line and task in line for line in lines(project)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(project: Project) -> list[str]:
    """The events of all runs, as they are kept."""
    return [line for path in project.runs.glob("*/events.jsonl") for line in path.read_text().splitlines()]
