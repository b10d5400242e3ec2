"""Managers that lose each other, die and are removed; the tests build on one another."""

from __future__ import annotations

import concurrent.futures
import typing as t

from ansible.module_utils.swarmhub.swarm import wait_for
from engines import Hosts
from swarms import join_options, wish


def test_failing_14_a_demotion_has_no_guard(hosts: Hosts, first: dict[str, t.Any]) -> None:
    assert hosts.mgr2.settle("swarm_member", **join_options(hosts.mgr2, "worker", first))["changed"]
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.mgr2, role="manager")])["changed"]
    assert hosts.mgr2.module("swarm_member", **join_options(hosts.mgr2, "manager", first))["role"] == "manager"
    assert "demote it first" in hosts.mgr2.refusal("swarm_member", state="absent")
    assert "runs on one of them" in hosts.mgr1.refusal("swarm_nodes", nodes=[wish(hosts.mgr1, role="worker")])


def test_failing_09_a_manager_without_quorum_passes_for_none(hosts: Hosts, first: dict[str, t.Any]) -> None:
    """The link between the two managers goes down, and neither founds a swarm of its own."""
    nodes = [wish(hosts.gpu1)]

    def error_of_mgr1() -> str:
        return hosts.mgr1.docker("info", "--format", "{{.Swarm.Error}}")

    hosts.mgr2.cut()
    assert "leader" in wait_for(error_of_mgr1, lambda error: "leader" in error, timeout=120)  # 36 to 40 s, seen here
    calls: list[tuple[str, dict[str, t.Any]]] = [
        ("swarm_member", {"role": "manager", "advertise_addr": hosts.mgr1.address}),
        ("swarm_nodes", {"nodes": nodes}),
        ("swarm_network", {"name": "net"}),
        ("swarm_stack", {"name": "web", "compose": {"services": {"a": {"image": "x"}}}}),
    ]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the engine takes its time for each refusal
        refusals = list(pool.map(lambda call: hosts.mgr1.refusal(call[0], **call[1]), calls))
    assert all("does not have a leader" in refusal for refusal in refusals), refusals
    hosts.mgr2.mend()
    assert not wait_for(error_of_mgr1, lambda error: not error, timeout=120)  # 35 to 41 s
    found_again = hosts.mgr1.module("swarm_member", role="manager", advertise_addr=hosts.mgr1.address)
    assert (found_again["changed"], found_again["cluster_id"]) == (False, first["cluster_id"])
    assert not hosts.mgr1.module("swarm_nodes", nodes=[*nodes, wish(hosts.mgr2)])["changed"]


def test_failing_05_a_manager_is_not_demoted_and_an_absent_node_fails(hosts: Hosts, first: dict[str, t.Any]) -> None:
    """Of three managers one dies and is removed for good."""
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, role="manager")])["changed"]
    dead = [wish(hosts.mgr2, state="absent")]
    assert "let that host leave first" in hosts.mgr1.refusal("swarm_nodes", nodes=dead, timeout=1)
    hosts.mgr2.stop()
    removed = hosts.mgr1.settle("swarm_nodes", nodes=dead)
    assert [node["hostname"] for node in removed["removed"]] == ["mgr2"]
    assert hosts.mgr1.docker("node", "ls", "--format", "{{.Hostname}}").split() == ["gpu1", "mgr1"]
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, role="worker")])["changed"]


def test_failing_04_a_manager_that_its_cluster_removed_passes_for_none(hosts: Hosts, first: dict[str, t.Any]) -> None:
    """It was away when that was done, and takes itself for a manager that has lost the others."""
    hosts.mgr2.start()
    refusal = hosts.mgr2.refusal("swarm_member", **join_options(hosts.mgr2, "worker", first), timeout=10)
    # Which of the two it says depends on how far it has come with its start.
    assert "of a swarm without a quorum" in refusal or "does not get through" in refusal
    assert hosts.mgr2.settle("swarm_member", state="absent", force=True)["changed"]
    assert hosts.mgr2.settle("swarm_member", **join_options(hosts.mgr2, "worker", first))["changed"]


def test_failing_04_a_worker_that_its_cluster_removed_passes_for_none(hosts: Hosts, first: dict[str, t.Any]) -> None:
    """Its entry is removed by force while it is away."""
    node_id = wish(hosts.gpu1)["node_id"]
    hosts.gpu1.stop()
    hosts.mgr1.docker("node", "rm", "--force", node_id)
    hosts.gpu1.start()
    refusal = hosts.gpu1.refusal("swarm_member", **join_options(hosts.gpu1, "worker", first), timeout=5)
    assert f"gpu1 is node {node_id} of cluster {first['cluster_id']} but does not get through" in refusal
    assert hosts.gpu1.settle("swarm_member", state="absent")["changed"]
    assert hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", first))["changed"]
