"""What the tests of the command share: recorded events, and small projects on this machine."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import pytest

from swarmhub import record
from swarmhub.events import Event, read
from swarmhub.project import Project

EVENTS = Path(__file__).parent / "events"


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
def make_project(tmp_path: Path) -> t.Callable[[str], Project]:
    """Make a project whose site.yml has these tasks, for two hosts that are this machine."""

    def make(tasks: str) -> Project:
        root = tmp_path / "project"
        (root / "inventory" / "secrets").mkdir(parents=True)
        (root / "ansible.cfg").write_text("[defaults]\ninventory = inventory/hosts.yml\nhost_key_checking = true\n")
        hosts = f"""\
all:
  hosts: {{one: , two: }}
  vars: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}
"""
        (root / "inventory" / "hosts.yml").write_text(hosts)
        (root / "site.yml").write_text(f"- name: The play\n  hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
        return Project(root, root / "inventory" / "hosts.yml")

    return make
