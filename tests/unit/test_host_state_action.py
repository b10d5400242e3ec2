"""The look as it travels to a host: one program that needs nothing there but Python."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, run_play

NOTHING = "no_such_program_here"


def play(folder: Path, task: dict[str, t.Any], **host: t.Any) -> subprocess.CompletedProcess[str]:
    """Look at this machine, and write down what it is told to be."""
    facts = {"dest": f"{folder}/facts", "mode": "0600", "content": "{{ [node_state, swarm_node_id] | to_json }}"}
    tasks = [{"host_state": task}, {"ansible.builtin.copy": facts}]
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **host}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"here": variables}}}))
    return run_play(folder / "hosts.json", folder / "play.yml")


def test_what_is_found_becomes_facts_of_the_host(tmp_path: Path) -> None:
    (file := tmp_path / "a file").write_text("x")
    done = play(tmp_path, {"names": {"files": [str(file), f"{file}.missing"], "sysctls": ["kernel.ostype"]}})
    assert done.returncode == 0, done.stdout + done.stderr
    state, node = json.loads((tmp_path / "facts").read_text())
    assert state["files"][str(file)]["mode"] == "0644"
    assert state["files"][f"{file}.missing"] is None
    assert state["sysctls"] == {"kernel.ostype": "Linux"}
    assert node == state["swarm"].get("node_id", "")


@pytest.mark.parametrize(
    ("task", "host", "told"),
    [
        ({"file": "/etc/hosts"}, {}, "Unsupported parameters for (host_state) module: file"),
        ({"names": {"file": []}}, {}, "Unsupported parameters for (host_state) module: names.file"),
        ({"firewall": {"chains": "X-"}}, {}, "missing required arguments: loaded, written found in firewall"),
        ({}, {"ansible_python_interpreter": f"/{NOTHING}"}, f"the look with /{NOTHING} ended with status 127"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, task: dict[str, t.Any], host: dict[str, str], told: str) -> None:
    done = play(tmp_path, task, **host)
    assert done.returncode == 2
    assert told in " ".join((done.stdout + done.stderr).split())


def test_who_does_not_answer_is_not_known_by_what_an_earlier_run_remembered(tmp_path: Path) -> None:
    """A cache of facts gives back what was found before; here the inventory does."""
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    broken = {**here, "ansible_python_interpreter": f"/{NOTHING}"}
    before = {"node_state": {"hostname": "as it was"}}
    hosts = {"here": here, "gone": {**gone, **before}, "broken": {**broken, **before}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    told = (
        "{{ [groups['all'] | swarmhub_states(hostvars) | list, groups['all'] | swarmhub_silent(hostvars)] | to_json }}"
    )
    tasks = [
        {"host_state": {}, "register": "node_found", "ignore_unreachable": True, "ignore_errors": True},
        {"ansible.builtin.copy": {"dest": f"{tmp_path}/told", "mode": "0600", "content": told}, "run_once": True},
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = run_play(tmp_path / "hosts.json", tmp_path / "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "told").read_text()) == [["here"], ["gone", "broken"]]


def test_its_documentation_knows_the_same_arguments() -> None:
    sources = [(ROOT / folder / "host_state.py").read_text() for folder in ("library", "action_plugins")]
    documented: dict[str, t.Any] = {}
    exec(sources[0], documented)  # noqa: S102 - ours
    exec(sources[1], taken := {"__file__": str(ROOT / "action_plugins/host_state.py")})  # noqa: S102 - ours
    options = yaml.safe_load(documented["DOCUMENTATION"])["options"]
    assert {name: option.get("default") for name, option in options.items()} == {
        name: argument.get("default") for name, argument in taken["ARGUMENTS"].items()
    }
