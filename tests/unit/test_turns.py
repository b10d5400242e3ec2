"""What playbooks/site.yml relies on: includes in a loop over each host's own name run one host at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
INCLUDE = "Prepare host, cards and engine of one host after the other"


def test_hosts_take_turns(tmp_path: Path) -> None:
    (look_and_change,) = [
        play for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text()) if "change" in play["name"]
    ]
    (include,) = [task for task in look_and_change["tasks"] if task["name"] == INCLUDE]
    steps = [
        {"ansible.builtin.shell": f"echo {{{{ inventory_hostname }}}} {step} >> log"} for step in ("begins", "ends")
    ]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/take_turn.yml").write_text(yaml.safe_dump(steps))
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "vars": {"node_turn": "{{ 'drain' if inventory_hostname != 'b' else '' }}"},
        "tasks": [include, {"ansible.builtin.shell": "echo {{ inventory_hostname }} goes on >> log"}],
    }
    for task in (*steps, play["tasks"][1]):
        task["args"] = {"chdir": str(tmp_path)}
    (tmp_path / "tasks/take_turn.yml").write_text(yaml.safe_dump(steps))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "a,b,c,d,", tmp_path / "play.yml"],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    log = (tmp_path / "log").read_text().splitlines()
    assert log[:6] == [f"{host} {step}" for host in "acd" for step in ("begins", "ends")]
    assert sorted(log[6:]) == [f"{host} goes on" for host in "abcd"]
