"""Which nodes are meant by -e node=, and what stands against taking them out."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.swarmhub import leaving
from ansible.module_utils.swarmhub.notebooks import on_nodes
from fake_engine import FakeEngine, FakeSwarm

GROUPS = {
    "all": ["mgr1", "mgr2", "gpu1", "gpu2", "store"],
    "managers": ["mgr1", "mgr2"],
    "gpu_workers": ["gpu1", "gpu2", "store"],
    "nfs_server": ["store"],
}
HOSTVARS = {host: {"ansible_host": f"10.0.0.{number}"} for number, host in enumerate(GROUPS["all"], 1)}


def node(host: str, number: int, state: str = "ready", role: str = "worker") -> dict[str, t.Any]:
    address = {"address": f"10.0.0.{number}", "hostname": f"{host}.lan"}
    return {**address, "state": state, "role": role, "availability": "active"}


NODES = {
    "id-mgr1": node("mgr1", 1, role="manager"),
    "id-mgr2": node("mgr2", 2, role="manager"),
    "id-gpu1": node("gpu1", 3),
    "id-gpu2": node("gpu2", 4, "down"),
    "id-store": node("store", 5),
    "id-old": node("gpu9", 9, "down"),
}


def states(*hosts: str) -> dict[str, t.Any]:
    return {
        host: {
            "swarm": {
                "state": "active",
                "node_id": f"id-{host}",
                "control_available": host in GROUPS["managers"],
                "nodes": NODES if host in GROUPS["managers"] else {},
            }
        }
        for host in hosts
    }


def plan(named: str, *answering: str, remove: bool = False) -> dict[str, t.Any]:
    return leaving.plan(named, GROUPS, HOSTVARS, states(*answering), remove)


@pytest.mark.parametrize("named", [None, "", " , "])
def test_nobody_named_is_nothing_done(named: str | None) -> None:
    with pytest.raises(ValueError, match="say which node"):
        leaving.hosts_to_look_at(named, GROUPS)


def test_managers_and_the_named_hosts_are_looked_at() -> None:
    assert leaving.hosts_to_look_at("gpu1, gone,mgr2", GROUPS) == "mgr1,mgr2,gpu1"
    with pytest.raises(ValueError, match="no managers"):
        leaving.hosts_to_look_at("gpu1", {"all": ["gpu1"]})


def test_a_host_that_answers_tells_its_node_itself() -> None:
    found = plan("gpu1", "mgr1", "mgr2", "gpu1")
    kept = {key: NODES["id-gpu1"][key] for key in ("hostname", "state", "role", "availability")}
    assert found == {"nodes": [{"name": "gpu1", "node_id": "id-gpu1", **kept}], "via": "mgr1", "refusal": ""}


@pytest.mark.parametrize(("name", "node_id"), [("gpu2", "id-gpu2"), ("gpu9.lan", "id-old")])
def test_a_dead_one_is_known_by_its_address_or_by_its_host_name(name: str, node_id: str) -> None:
    found = plan(name, "mgr1", "mgr2", remove=True)
    assert (found["refusal"], [each["node_id"] for each in found["nodes"]]) == ("", [node_id])


def test_one_that_left_in_a_run_that_was_killed_is_known_by_its_address() -> None:
    looks = {**states("mgr1", "mgr2"), "gpu1": {"swarm": {"state": "inactive", "node_id": ""}}}
    found = leaving.plan("gpu1", GROUPS, HOSTVARS, looks, remove=True)
    assert (found["refusal"], [each["node_id"] for each in found["nodes"]]) == ("", ["id-gpu1"])
    looks["gpu1"]["swarm"] = {"state": "active", "node_id": "id-of-another-swarm"}
    assert "no such node" in leaving.plan("gpu1", GROUPS, HOSTVARS, looks, remove=True)["refusal"]


def test_another_manager_is_asked_than_the_one_that_leaves() -> None:
    assert plan("mgr1", "mgr1", "mgr2")["via"] == "mgr2"
    assert plan("gpu1", "mgr2", "gpu1")["via"] == "mgr2"


@pytest.mark.parametrize(
    ("named", "answering", "remove", "words"),
    [
        ("mgr1", ("mgr1",), False, "mgr1 has no other manager at work beside it. Nothing was changed."),
        ("gpu1", ("gpu1",), False, "no manager answers. Nothing was changed."),
        ("gpu7,gpu8", ("mgr1",), False, "gpu7: the cluster has no such node; gpu8: the cluster has no such node."),
        ("gpu2", ("mgr1",), False, "gpu2 is down: it is drained when it is back, or removed"),
        ("gpu1", ("mgr1",), True, "gpu1 does not answer over SSH, but its engine is at work"),
        ("store", ("mgr1", "store"), True, "store is in nfs_server: move what it serves first"),
    ],
)
def test_what_stands_against_it_is_said(named: str, answering: tuple[str, ...], remove: bool, words: str) -> None:
    assert words in plan(named, *answering, remove=remove)["refusal"]


def test_a_node_is_drained_without_ssh() -> None:
    assert plan("gpu1", "mgr1")["refusal"] == ""


def test_notebooks_and_what_is_pinned_are_told_of_the_nodes_asked_for() -> None:
    swarm = FakeSwarm()
    manager, worker = swarm.add_node("mgr1", role="manager"), swarm.add_node("gpu1")
    swarm.run(worker, "alice")
    swarm.run(worker, None, [f"node.id == {worker}"])
    swarm.run(worker, None, ["node.role==worker"])
    swarm.run(worker, "bob", state="complete")
    swarm.run(manager, "carol")
    for task in swarm.tasks:
        task["CreatedAt"] = "2026-01-31T18:00:00Z"
    swarm.services[0]["Spec"]["Labels"]["swarmhub.profile"] = "gpu"
    swarm.services[1]["Spec"]["Name"] = "proxy"

    found = on_nodes(FakeEngine("mgr1", swarm, manager), [worker])

    alice = {"user": "alice", "profile": "gpu", "state": "running", "since": "2026-01-31T18:00:00Z"}
    assert found == {"notebooks": [{**alice, "node_id": worker}], "pinned": {"proxy": worker}}
    named = leaving.with_names(found["notebooks"], [{"node_id": worker, "name": "gpu1"}])
    assert named == [{"user": "alice", "profile": "gpu", "since": "2026-01-31T18:00:00Z", "node": "gpu1"}]
    assert on_nodes(FakeEngine("mgr1", swarm, manager), []) == {"notebooks": [], "pinned": {}}
