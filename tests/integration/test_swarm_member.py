"""Membership: founding, joining, leaving, the wrong swarm; the tests build on one another."""

from __future__ import annotations

import typing as t

import pytest
from engines import Hosts
from swarms import found, join_options


def test_failing_01_a_partial_update_resets_what_it_does_not_name(hosts: Hosts, first: dict[str, t.Any]) -> None:
    hosts.mgr1.docker("swarm", "update", "--task-history-limit=9", "--cert-expiry=1000h")
    changed = found(hosts.mgr1, dispatcher_heartbeat=3)
    assert changed["changed"]
    assert changed["diff"]["after"]["settings"]["dispatcher_heartbeat"] == 3
    info = hosts.mgr1.docker("info")
    assert "Heartbeat Period: 3 seconds" in info
    assert "Task History Retention Limit: 9" in info
    assert "Expiry Duration: 5 weeks" in info


def test_an_address_pool_that_differs_is_refused(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refusal = hosts.mgr1.refusal("swarm_member", role="manager", default_addr_pool=["10.99.0.0/16"])
    assert "10.20.0.0/16" in refusal
    assert "10.99.0.0/16" in refusal


def test_failing_02_a_worker_of_any_swarm_passes_for_joined(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.gpu1, "worker", first), "cluster_id": "someothercluster"}
    refusal = hosts.gpu1.refusal("swarm_member", **options)
    assert first["cluster_id"] in refusal
    assert "someothercluster" in refusal


def test_failing_02_a_manager_of_any_swarm_passes_for_joined(hosts: Hosts, first: dict[str, t.Any]) -> None:
    other = found(hosts.mgr2)
    options = join_options(hosts.mgr2, "worker", first)
    refusal = hosts.mgr2.refusal("swarm_member", **options)
    assert first["cluster_id"] in refusal
    assert other["cluster_id"] in refusal
    moved = hosts.mgr2.settle("swarm_member", **options, move=True)
    assert (moved["cluster_id"], moved["role"]) == (first["cluster_id"], "worker")
    assert hosts.mgr2.settle("swarm_member", state="absent")["changed"]


def test_failing_02_a_worker_passes_for_a_manager(hosts: Hosts, first: dict[str, t.Any]) -> None:
    wrong = hosts.gpu1.module("swarm_member", **join_options(hosts.gpu1, "manager", first))
    assert (wrong["changed"], wrong["role"]) == (False, "worker")
    assert "gpu1 is a worker and should be a manager" in str(wrong["warnings"])


def test_failing_08_check_mode_on_a_fresh_host_breaks_the_joins_after_it(hosts: Hosts, first: dict[str, t.Any]) -> None:
    founding = {"role": "manager", "advertise_addr": hosts.mgr2.address, "return_tokens": True}
    predicted = hosts.mgr2.module("swarm_member", check=True, **founding)
    assert predicted["changed"]
    joining = {
        "cluster_id": predicted["cluster_id"],
        "remote_addrs": [f"{hosts.mgr2.address}:2377"],
        "join_token": predicted["join_tokens"]["worker"],
    }
    assert hosts.mgr2.module("swarm_member", check=True, role="worker", **joining)["changed"]
    assert hosts.mgr2.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("swarm_member", {"role": "boss"}, "value of role must be one of: manager, worker, got: boss"),
        ("swarm_member", {}, "state is present but all of the following are missing: role"),
        ("swarm_nodes", {"nodes": [{"node_id": "x", "name": "x", "lables": {}}]}, "nodes.lables"),
        ("swarm_nodes", {"nodes": [5]}, "field 'nodes' must be a list, not 'int'"),
        ("swarm_network", {"name": "net", "mtu": "big"}, "argument 'mtu' is of type"),
        ("swarm_network", {"name": "net", "subnet": ["10.0.0.1/8"]}, "10.0.0.1/8 has host bits set"),
        ("swarm_stack", {"name": "web", "compose": []}, "argument 'compose' is of type"),
        (
            "swarm_stack",
            {"name": "web", "compose": {"services": {"a": {"image": "x", "build": "."}}}},
            "services.a.build",
        ),
    ],
)
def test_wrong_options_are_named_and_change_nothing(
    hosts: Hosts, first: dict[str, t.Any], name: str, arguments: dict[str, t.Any], message: str
) -> None:
    assert message in hosts.mgr1.refusal(name, **arguments)


def test_managers_that_do_not_answer_are_named(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.mgr2, "worker", first), "remote_addrs": ["10.123.0.99"]}
    refusal = hosts.mgr2.refusal("swarm_member", **options)
    assert "10.123.0.99:2377" in refusal
    assert hosts.mgr2.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"


def test_failing_03_a_join_that_timed_out_passes_the_second_time(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.mgr2, "worker", first), "remote_addrs": first["managers"], "timeout": 1}
    with hosts.mgr1.frozen():
        for _ in range(2):
            refusal = hosts.mgr2.refusal("swarm_member", **options)
            assert "mgr2 is still pending" in refusal
    joined = hosts.mgr2.module("swarm_member", **{**options, "timeout": 60})
    assert (joined["state"], joined["cluster_id"]) == ("active", first["cluster_id"])
    assert not hosts.mgr2.module("swarm_member", **options)["changed"]
    assert hosts.mgr2.settle("swarm_member", state="absent")["changed"]


def test_the_last_manager_stays_as_long_as_somebody_is_in_its_swarm(hosts: Hosts, first: dict[str, t.Any]) -> None:
    others = hosts.mgr1.docker("node", "ls", "--filter=role=worker", "--format={{.ID}}").split()
    assert "gpu1" in hosts.mgr1.refusal("swarm_member", state="absent")
    assert hosts.gpu1.settle("swarm_member", state="absent")["changed"]
    gone = [{"node_id": node_id, "name": node_id, "state": "absent"} for node_id in others]
    assert hosts.mgr1.settle("swarm_nodes", nodes=gone)["changed"]
    assert hosts.mgr1.settle("swarm_member", state="absent")["changed"]


def test_failing_04_a_locked_manager_passes_for_one_in_no_swarm(hosts: Hosts, first: dict[str, t.Any]) -> None:
    assert hosts.mgr1.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    key = found(hosts.mgr1, autolock=True)["join_tokens"]["unlock_key"]
    for _ in range(2):
        hosts.mgr1.stop()
        hosts.mgr1.start()
        for arguments in ({"role": "manager"}, {"state": "absent"}):
            assert "locked" in hosts.mgr1.refusal("swarm_member", **arguments)
        assert "invalid key" in hosts.mgr1.refusal("swarm_member", role="manager", unlock_key="SWMKEY-1-nonsense")
        assert hosts.mgr1.settle("swarm_member", role="manager", unlock_key=key)["changed"]
    hosts.mgr1.stop()
    hosts.mgr1.start()
    assert hosts.mgr1.module("swarm_member", state="absent", force=True)["changed"]
