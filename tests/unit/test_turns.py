"""How the plays part hosts into those that are left, those that are changed, and those that take turns."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import yaml
from rendering import ROOT, run_play

INCLUDE = "Prepare host, cards and engine of one host after the other"
Tasks = list[dict[str, t.Any]]


def play(folder: Path, hosts: str, tasks: Tasks, variables: dict[str, t.Any]) -> str:
    """Run tasks on hosts that are all this machine; return the lines that they appended to the file ``log``."""
    content = [
        {"hosts": "all", "gather_facts": False, "connection": "local", "vars": variables, "tasks": tasks},
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(content))
    done = run_play(hosts, folder / "play.yml", ANSIBLE_FILTER_PLUGINS=str(ROOT / "filter_plugins"))
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "log").read_text()


def say(folder: Path, words: str) -> dict[str, t.Any]:
    """Return a task that appends a line."""
    return {"ansible.builtin.shell": f"echo {words!r} >> {folder}/log"}


def test_includes_in_a_loop_over_each_host_s_own_name_run_one_host_at_a_time(tmp_path: Path) -> None:
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    (include,) = [task for each in plays for task in each.get("tasks", []) if task["name"] == INCLUDE]
    (tmp_path / "tasks").mkdir()
    steps = [say(tmp_path, f"{{{{ inventory_hostname }}}} {step}") for step in ("begins", "ends")]
    (tmp_path / "tasks/take_turn.yml").write_text(yaml.safe_dump(steps))
    turn = {"node_turn": "{{ 'drain' if inventory_hostname != 'b' else '' }}"}
    log = play(tmp_path, "a,b,c,d,", [include, say(tmp_path, "{{ inventory_hostname }} goes on")], turn).splitlines()
    turns = [log[place : place + 2] for place in (0, 2, 4)]
    assert sorted(turns) == [[f"{host} begins", f"{host} ends"] for host in "acd"]
    assert sorted(log[6:]) == [f"{host} goes on" for host in "abcd"]


NODES = "#!/bin/sh\necho '{\"changed\": false}'\n"


def test_every_host_is_looked_at_again_when_its_turn_comes(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/swarm_nodes.py").write_text(NODES)
    (tmp_path / "tasks").mkdir()
    turn = (ROOT / "playbooks/tasks/take_turn.yml").read_text()
    (tmp_path / "tasks/take_turn.yml").write_text(turn)
    look = say(tmp_path, "{{ {inventory_hostname: node_may} | to_json }}")
    (tmp_path / "tasks/look_again.yml").write_text(yaml.safe_dump([look]))
    (tmp_path / "tasks/prepare.yml").write_text(yaml.safe_dump([say(tmp_path, "{{ {} }}")]))
    (tmp_path / "tasks/empty_host.yml").write_text(yaml.safe_dump([{"ansible.builtin.meta": "noop"}]))
    variables = {
        "node_turn": "{{ inventory_hostname }}",
        "node_peer": "{{ inventory_hostname }}",
        "swarm_node_id": "x",
        "docker_engine_restart": "{{ 'now' if inventory_hostname == 'restart' else 'drain' }}",
        "gpu_reboot": "true",
    }
    log = play(tmp_path, "drain,restart,", [{"ansible.builtin.import_tasks": "tasks/take_turn.yml"}], variables)
    seen = {host: may for line in log.splitlines() for host, may in json.loads(line).items()}
    assert seen == {
        "drain": {"disturb": False, "reboot": True, "drain": False},
        "restart": {"disturb": True, "reboot": True, "drain": False},
    }
    (give_back,) = yaml.safe_load(turn)[0]["always"]
    assert give_back["retries"] * give_back["swarm_nodes"]["timeout"] <= 300


def test_a_host_on_which_all_waits_is_left_unless_it_is_to_be_drained(tmp_path: Path) -> None:
    missing = {"path": "/etc/docker/daemon.json", "content": "{}", "mode": "0644"}
    found = {"owner": "root", "group": "root", "mode": "0644", "mtime": 1.0, "sha256": "other"}
    shared = yaml.safe_load((ROOT / "roles/cluster/vars/main/cluster.yml").read_text())
    variables = {
        **{name: shared[name] for name in ("node_differences", "node_turn", "node_is_right", "cluster_has_joiners")},
        "node_owned": {"docker_engine": {"files": [missing], "when_idle": [missing["path"]]}},
        "node_state": {
            "packages": {},
            "files": {missing["path"]: found},
            "engine": {"notebooks": 1},
            "swarm": {"state": "active"},
        },
        "node_may": {"disturb": False, "reboot": False, "drain": "{{ inventory_hostname == 'drains' }}"},
        "cluster_seed": "other",
        "node_images_missing": [],
        "hub_images_to_build": [],
        # Who may not change is left, whatever differs there.
        "cluster_changing": ["waits", "drains"],
    }
    compare = {"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/compare.yml")}
    words = "{{ {inventory_hostname: [node_is_right, node_turn, node_compared.waits | length]} | to_json }}"
    log = play(tmp_path, "waits,drains,keeps,", [compare, say(tmp_path, words)], variables)
    seen = {host: values for line in log.splitlines() for host, values in json.loads(line).items()}
    assert seen == {"waits": [True, "", 1], "drains": [False, "drain", 1], "keeps": [True, "", 0]}


def test_a_card_that_a_reboot_did_not_bring_back_is_told_where_others_remain(tmp_path: Path) -> None:
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/prepare.yml").read_text())
    (task,) = [each for each in tasks if each["name"] == "Say which card the reboot did not bring back"]
    lost = "card GPU-2 does not answer (Unknown Error)"
    variables = {
        "gpu_rebooted": {"rebooted": "{{ inventory_hostname != 'left' }}"},
        "node_state": {"cards": "{{ [] if inventory_hostname == 'bare' else ['GPU-1'] }}"},
        "gpu_owned": {"reboot": f"{{{{ [] if inventory_hostname == 'mended' else ['{lost}'] }}}}"},
    }
    said = {**say(tmp_path, task["ansible.builtin.debug"]["msg"]), "when": task["when"]}
    log = play(tmp_path, "lost,mended,bare,left,", [said], variables)
    assert log == f"lost was rebooted, and still {lost}: keep it out with gpu_exclude\n"


def test_a_host_that_is_lost_while_images_are_brought_ends_the_run_for_all(tmp_path: Path) -> None:
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    (images,) = [each for each in plays if each["name"].startswith("Bring the images")]
    asked = {"ansible.builtin.set_fact": {"node_images_asked": "{{ ['x'] if lost | default(false) else [] }}"}}
    bring = {**images, "become": False, "roles": [], "tasks": [{"ansible.builtin.ping": {}}]}
    common = {"hosts": "all", "gather_facts": False}
    content = [{**common, "tasks": [asked]}, bring, {**common, "tasks": [say(tmp_path, "goes on")]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(content))
    hosts = {
        "lost": {"lost": True, "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0},
        "right": {"ansible_connection": "local"},
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    done = run_play(tmp_path / "hosts.json", tmp_path / "play.yml", ANSIBLE_FILTER_PLUGINS=str(ROOT / "filter_plugins"))
    assert re.search(r"^lost .* unreachable=1", done.stdout, re.M), done.stdout + done.stderr
    assert not (tmp_path / "log").exists(), done.stdout
