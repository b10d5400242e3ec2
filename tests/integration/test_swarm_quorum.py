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
    hosts.mgr2.cut()
    wait_for(
        lambda: hosts.mgr1.docker("info", "--format", "{{.Swarm.Error}}"), lambda error: "leader" in error, timeout=60
    )
    calls: list[tuple[str, dict[str, t.Any]]] = [
        ("swarm_member", {"role": "manager", "advertise_addr": hosts.mgr1.address}),
        ("swarm_nodes", {"nodes": nodes}),
        ("swarm_network", {"name": "net"}),
        ("swarm_stack", {"name": "web", "compose": {"services": {"a": {"image": "x"}}}}),
    ]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the engine takes its time for each refusal
        refusals = list(pool.map(lambda call: hosts.mgr1.refusal(call[0], **call[1]), calls))
    print(refusals)
    assert all("does not have a leader" in refusal for refusal in refusals), refusals
    hosts.mgr2.mend()
    wait_for(lambda: hosts.mgr1.docker("info", "--format", "{{.Swarm.Error}}"), lambda error: not error, timeout=60)
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


def test_failing_04_a_node_that_its_cluster_removed_passes_for_none(hosts: Hosts, first: dict[str, t.Any]) -> None:
    hosts.mgr2.start()
    print("STATE", hosts.mgr2.docker("info", "--format", "{{json .Swarm}}"))
    options = join_options(hosts.mgr2, "worker", first)
    refusal = hosts.mgr2.refusal("swarm_member", **options, timeout=10)
    print(refusal)
    assert hosts.mgr2.settle("swarm_member", state="absent", force=True)["changed"]
