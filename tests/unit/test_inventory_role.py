"""Role inventory_check through ansible-playbook: one message, no host contacted."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from rendering import ROOT, run_play

PLAY = """\
- name: Check
  hosts: all
  gather_facts: false
  become: true
  roles: [inventory_check]
"""
# Nothing answers there; a play that connected would fail as unreachable.
NOWHERE = "192.0.2."


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return a copy of the example, edited so that it is right."""
    shutil.copytree(ROOT / "inventory/example", tmp_path / "inventory")
    for path in (tmp_path / "inventory").rglob("*.yml"):
        path.write_text(path.read_text().replace(NOWHERE, "127.1.2."))
    settings = tmp_path / "inventory/group_vars/all.yml"
    settings.write_text(settings.read_text().replace("127.1.2.0/24", "10.77.0.0/24"))
    (tmp_path / "play.yml").write_text(PLAY)
    return tmp_path / "inventory"


def check(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the role on an inventory directory."""
    return run_play(inventory / "hosts.yml", inventory.parent / "play.yml", *arguments)


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_good_inventory_passes_quickly(inventory: Path) -> None:
    started = time.monotonic()
    done = check(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unreachable=0" in done.stdout
    # About two seconds on an idle machine, the start of Ansible included.
    assert time.monotonic() - started < 10


def test_all_findings_are_in_one_message_before_any_host_is_contacted(inventory: Path) -> None:
    edit(inventory / "hosts.yml", "    gpu_workers:", "    gpu_worker:")
    edit(inventory / "hosts.yml", "        mgr3: {ansible_host: 127.1.2.13}\n", "")
    settings = inventory / "group_vars/all.yml"
    # Templates are seen as Ansible sees them.
    settings.write_text(settings.read_text() + "\nmode: mesh\nswarm_network_mode: '{{ mode }}'\nhub_prot: 80\n")
    done = check(inventory)
    assert done.returncode != 0
    for words in (
        "gpu_worker (hosts.yml) — is not a group of this project; did you mean gpu_workers?",
        "managers (hosts.yml) — 2 managers",
        "hub_profiles[1].gpus (group_vars/all.yml)",
        "swarm_network_mode (group_vars/all.yml)",
        "hub_prot (group_vars/all.yml) — is not a variable of this project; did you mean hub_port?",
    ):
        assert words in done.stdout
    assert done.stdout.count("fatal:") == 1
    assert "unreachable=0" in done.stdout


def test_a_limit_without_a_manager_points_to_add_node(inventory: Path) -> None:
    done = check(inventory, "--limit", "gpu3")
    assert done.returncode != 0
    assert "playbooks/add_node.yml" in done.stdout


def test_the_unedited_example_is_refused(inventory: Path) -> None:
    shutil.rmtree(inventory)
    shutil.copytree(ROOT / "inventory/example", inventory)
    done = check(inventory)
    assert done.returncode != 0
    assert "this is the example, unedited" in done.stdout
