"""The life of a swarm of three real engines, told by swarm_member and swarm_nodes; the tests build on one another."""

from __future__ import annotations

import io
import tarfile
import typing as t
from pathlib import Path

import pytest
from engines import CARDS, Host, Hosts

POOL = {"default_addr_pool": ["10.20.0.0/16"], "subnet_size": 24, "dispatcher_heartbeat": 2}


def found(host: Host, **arguments: t.Any) -> dict[str, t.Any]:
    options = {"role": "manager", "advertise_addr": host.address, "return_tokens": True, **POOL, **arguments}
    return host.settle("swarm_member", **options)


def join_options(host: Host, role: str, first: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "role": role,
        "cluster_id": first["cluster_id"],
        "remote_addrs": ["10.123.0.99:2377", *first["managers"]],  # the first one is not there
        "join_token": first["join_tokens"][role],
        "advertise_addr": host.address,
    }


def wish(host: Host, **wanted: t.Any) -> dict[str, t.Any]:
    node_id = host.docker("info", "--format", "{{.Swarm.NodeID}}")
    return {"node_id": node_id, "name": f"{host.name}.lan", **wanted}


def labels(manager: Host, node: Host) -> str:
    node_id = node.docker("info", "--format", "{{.Swarm.NodeID}}")
    return manager.docker("node", "inspect", "--format", "{{json .Spec.Labels}}", node_id)


@pytest.fixture(scope="module")
def first(hosts: Hosts) -> dict[str, t.Any]:
    """The swarm, founded on mgr1 and joined by gpu1."""
    founded = found(hosts.mgr1)
    assert founded["changed"]
    assert founded["managers"] == ["10.123.0.11:2377"]
    joined = hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", founded))
    assert joined["changed"]
    assert (joined["role"], joined["cluster_id"]) == ("worker", founded["cluster_id"])
    return founded


def test_changing_one_cluster_setting_resets_no_other(hosts: Hosts, first: dict[str, t.Any]) -> None:
    hosts.mgr1.docker("swarm", "update", "--task-history-limit=9", "--cert-expiry=1000h")
    changed = found(hosts.mgr1, dispatcher_heartbeat=3)
    assert changed["changed"]
    assert changed["diff"]["after"]["settings"]["dispatcher_heartbeat"] == 3
    info = hosts.mgr1.docker("info")
    assert "Heartbeat Period: 3 seconds" in info
    assert "Task History Retention Limit: 9" in info
    assert "Expiry Duration: 5 weeks" in info


def test_an_address_pool_that_differs_is_refused(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refused = hosts.mgr1.module("swarm_member", role="manager", default_addr_pool=["10.99.0.0/16"])
    assert refused["failed"]
    assert "10.20.0.0/16" in refused["msg"]
    assert "10.99.0.0/16" in refused["msg"]


def test_a_worker_of_another_cluster_is_refused_with_both_ids(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.gpu1, "worker", first), "cluster_id": "someothercluster"}
    refused = hosts.gpu1.module("swarm_member", **options)
    assert refused["failed"]
    assert first["cluster_id"] in refused["msg"]
    assert "someothercluster" in refused["msg"]


def test_a_manager_of_another_cluster_is_refused_with_both_ids(hosts: Hosts, first: dict[str, t.Any]) -> None:
    other = found(hosts.mgr2)
    refused = hosts.mgr2.module("swarm_member", **join_options(hosts.mgr2, "manager", first))
    assert refused["failed"]
    assert first["cluster_id"] in refused["msg"]
    assert other["cluster_id"] in refused["msg"]
    assert hosts.mgr2.settle("swarm_member", state="absent")["changed"]


def test_managers_that_do_not_answer_are_named(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.mgr2, "worker", first), "remote_addrs": ["10.123.0.99"]}
    refused = hosts.mgr2.module("swarm_member", **options)
    assert refused["failed"]
    assert "10.123.0.99:2377" in refused["msg"]
    assert hosts.mgr2.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"


def test_labels_are_merged_removed_and_made_exact(hosts: Hosts, first: dict[str, t.Any]) -> None:
    hosts.mgr1.docker("node", "update", "--label-add=mine=1", "--label-add=empty=", "gpu1")
    wanted = {"calculation_type": "gpu", "empty": None, "fast": True}
    nodes = [wish(hosts.mgr1), wish(hosts.gpu1, labels=wanted, generic_resources={"GPU": CARDS})]
    result = hosts.mgr1.settle("swarm_nodes", nodes=nodes)
    assert result["changed"]
    assert result["nodes"]["gpu1.lan"]["generic_resources"] == {"GPU": CARDS}
    assert result["diff"]["before"]["gpu1.lan"]["labels"] == {"mine": "1", "empty": ""}
    assert labels(hosts.mgr1, hosts.gpu1) == '{"calculation_type":"gpu","fast":"true","mine":"1"}'
    exact = [wish(hosts.gpu1, labels={"calculation_type": "gpu"})]
    assert hosts.mgr1.settle("swarm_nodes", nodes=exact, labels_state="exact")["changed"]
    assert labels(hosts.mgr1, hosts.gpu1) == '{"calculation_type":"gpu"}'


def test_missing_cards_are_named_when_time_is_up(hosts: Hosts, first: dict[str, t.Any]) -> None:
    nodes = [wish(hosts.gpu1, generic_resources={"GPU": [*CARDS, "GPU-missing"]})]
    refused = hosts.mgr1.module("swarm_nodes", nodes=nodes, timeout=1)
    assert refused["failed"]
    assert "gpu1.lan advertises GPU" in refused["msg"]
    assert "GPU-missing" in refused["msg"]


def test_nodes_can_be_settled_on_a_manager_only(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refused = hosts.gpu1.module("swarm_nodes", nodes=[wish(hosts.gpu1)])
    assert refused["failed"]
    assert "not a swarm manager" in refused["msg"]


@pytest.fixture
def notebook(hosts: Hosts, first: dict[str, t.Any], tmp_path: Path) -> t.Iterator[str]:
    """A service that looks like a running notebook and is constrained to gpu1 by a label."""
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as image:
        image.addfile(tarfile.TarInfo("etc/made-for-a-test"), io.BytesIO())
    hosts.gpu1.docker("import", str(archive), "idle:1")
    system = [f"--mount=type=bind,ro,source={path},target={path}" for path in ("/usr", "/bin", "/lib", "/lib64")]
    hosts.mgr1.docker(
        "service", "create", "--name=swarmhub-nb-alice", "--label=swarmhub.user=alice", "--no-resolve-image",
        "--constraint=node.labels.calculation_type==gpu", "--stop-grace-period=1s", *system,
        "idle:1", "/usr/bin/sleep", "600",
    )  # fmt: skip
    yield "swarmhub-nb-alice"
    hosts.mgr1.docker("service", "rm", "swarmhub-nb-alice")


def test_a_label_under_a_running_notebook_stays_and_a_drain_waits(
    hosts: Hosts, first: dict[str, t.Any], notebook: str
) -> None:
    relabel = [wish(hosts.gpu1, labels={"calculation_type": "cpu"})]
    for check in (True, False):
        refused = hosts.mgr1.module("swarm_nodes", nodes=relabel, check=check)
        assert refused["failed"]
        assert "alice on gpu1.lan" in refused["msg"]
    assert labels(hosts.mgr1, hosts.gpu1) == '{"calculation_type":"gpu"}'
    harmless = [wish(hosts.gpu1, labels={"rack": "3"})]
    assert hosts.mgr1.settle("swarm_nodes", nodes=harmless)["changed"]

    drained = hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, availability="drain")])
    assert drained["drained"] == {"gpu1.lan": [notebook]}
    assert hosts.gpu1.docker("ps", "--quiet") == ""
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, availability="active")])["changed"]


def test_promotion_and_demotion_keep_the_quorum(hosts: Hosts, first: dict[str, t.Any]) -> None:
    joined = hosts.mgr2.settle("swarm_member", **join_options(hosts.mgr2, "worker", first))
    assert joined["role"] == "worker"
    wrong = hosts.mgr2.module("swarm_member", **join_options(hosts.mgr2, "manager", first))
    assert wrong["role"] == "worker"
    assert "should be a manager" in str(wrong["warnings"])
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.mgr2, role="manager")])["changed"]
    assert hosts.mgr2.module("swarm_member", **join_options(hosts.mgr2, "manager", first))["role"] == "manager"

    part = hosts.mgr2.module("swarm_member", state="absent")
    assert "demote it first" in part["msg"]
    itself = hosts.mgr1.module("swarm_nodes", nodes=[wish(hosts.mgr1, role="worker")])
    assert "runs on one of them" in itself["msg"]
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.mgr2, role="worker")])["changed"]
    assert hosts.mgr2.settle("swarm_member", state="absent")["changed"]


def test_a_reimaged_host_replaces_its_down_twin(hosts: Hosts, first: dict[str, t.Any]) -> None:
    old = wish(hosts.gpu1)["node_id"]
    hosts.gpu1.docker("swarm", "leave")
    joined = hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", first))
    assert joined["node_id"] != old
    unknown = hosts.mgr1.module("swarm_nodes", nodes=[{"node_id": "nosuchnode", "name": "cpu7"}])
    assert "cpu7 (nosuchnode)" in unknown["msg"]
    # mgr2 left above and its entry is Down too, but no host that we name stands for it.
    result = hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1)])
    assert [node["node_id"] for node in result["removed"]] == [old]
    assert sorted(hosts.mgr1.docker("node", "ls", "--format", "{{.Hostname}}").split()) == ["gpu1", "mgr1", "mgr2"]


def test_the_last_manager_stays_as_long_as_somebody_needs_it(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refused = hosts.mgr1.module("swarm_member", state="absent", timeout=1)
    assert refused["failed"]
    assert "gpu1" in refused["msg"]
    assert hosts.gpu1.settle("swarm_member", state="absent")["changed"]
    hosts.mgr1.module("swarm_member", state="absent", check=True)  # waits until gpu1 shows Down
    assert hosts.mgr1.settle("swarm_member", state="absent")["changed"]


def test_a_locked_manager_is_told_from_one_that_is_in_no_swarm(hosts: Hosts, first: dict[str, t.Any]) -> None:
    assert hosts.mgr1.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    assert found(hosts.mgr1, autolock=True)["join_tokens"]["unlock_key"].startswith("SWMKEY-")
    hosts.mgr1.stop()
    hosts.mgr1.start()
    for arguments in ({"role": "manager"}, {"state": "absent"}):
        refused = hosts.mgr1.module("swarm_member", **arguments)
        assert refused["failed"]
        assert "locked" in refused["msg"]
    assert hosts.mgr1.module("swarm_member", state="absent", force=True)["changed"]
