"""The life of a swarm of three real engines, told by swarm_member and swarm_nodes; the tests build on one another."""

from __future__ import annotations

import concurrent.futures
import io
import itertools
import tarfile
import threading
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.engine import DockerEngine
from ansible.module_utils.swarmhub.swarm import update, wait_for
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


def test_managers_that_do_not_answer_are_named(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.mgr2, "worker", first), "remote_addrs": ["10.123.0.99"]}
    refusal = hosts.mgr2.refusal("swarm_member", **options)
    assert "10.123.0.99:2377" in refusal
    assert hosts.mgr2.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"


def test_failing_11_a_label_whose_value_is_empty_cannot_be_removed(hosts: Hosts, first: dict[str, t.Any]) -> None:
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
    refusal = hosts.mgr1.refusal("swarm_nodes", nodes=nodes, timeout=1)
    assert "gpu1.lan advertises GPU" in refusal
    assert "GPU-missing" in refusal


def test_nodes_can_be_settled_on_a_manager_only(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refusal = hosts.gpu1.refusal("swarm_nodes", nodes=[wish(hosts.gpu1)])
    assert "not a swarm manager" in refusal


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


def test_a_label_under_a_running_notebook_stays(hosts: Hosts, first: dict[str, t.Any], notebook: str) -> None:
    relabel = [wish(hosts.gpu1, labels={"calculation_type": "cpu"})]
    for check in (True, False):
        assert "alice on gpu1.lan" in hosts.mgr1.refusal("swarm_nodes", nodes=relabel, check=check)
    assert labels(hosts.mgr1, hosts.gpu1) == '{"calculation_type":"gpu"}'
    harmless = [wish(hosts.gpu1, labels={"rack": "3"})]
    assert hosts.mgr1.settle("swarm_nodes", nodes=harmless)["changed"]


def test_failing_06_a_host_leaves_from_under_a_notebook(hosts: Hosts, first: dict[str, t.Any], notebook: str) -> None:
    refusal = hosts.gpu1.refusal("swarm_member", state="absent")
    assert f"gpu1 still runs {notebook}: drain it first" in refusal
    assert hosts.gpu1.docker("ps", "--quiet") != ""


def test_failing_14_a_drain_returns_at_once_and_does_not_say_what_ran(
    hosts: Hosts, first: dict[str, t.Any], notebook: str
) -> None:
    drained = hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, availability="drain")])
    assert drained["drained"] == {"gpu1.lan": [notebook]}
    assert hosts.gpu1.docker("ps", "--quiet") == ""
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, availability="active")])["changed"]


def test_failing_15_an_update_drops_the_name_of_a_node(hosts: Hosts, first: dict[str, t.Any]) -> None:
    engine, path = DockerEngine(hosts.mgr1.docker_host), f"/nodes/{wish(hosts.gpu1)['node_id']}"
    update(engine, path, f"{path}/update", lambda spec: {**spec, "Name": "kept"})
    assert hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, labels={"a": "b"})])["changed"]
    assert engine.request("GET", path)["Spec"]["Name"] == "kept"


def test_failing_13_an_update_out_of_sequence_fails_the_play(hosts: Hosts, first: dict[str, t.Any]) -> None:
    """Somebody else changes the node all the time."""
    engine, path = DockerEngine(hosts.mgr1.docker_host), f"/nodes/{wish(hosts.gpu1)['node_id']}"
    stop = threading.Event()

    numbers = itertools.count()

    def disturbed(spec: dict[str, t.Any]) -> dict[str, t.Any]:
        return {**spec, "Labels": {**spec["Labels"], "disturbed": str(next(numbers))}}

    def disturb() -> None:
        while not stop.wait(0.01):
            update(engine, path, f"{path}/update", disturbed)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        disturbing = pool.submit(disturb)
        try:
            for number in range(3):
                nodes = [wish(hosts.gpu1, labels={"wanted": str(number)})]
                result = hosts.mgr1.module("swarm_nodes", nodes=nodes)
                assert result["changed"], result["msg"]
                assert result["diff"]["after"]["gpu1.lan"]["labels"]["wanted"] == str(number)
        finally:
            stop.set()
        disturbing.result()
    assert '"wanted":"2"' in labels(hosts.mgr1, hosts.gpu1)


def test_failing_03_a_join_that_timed_out_passes_the_second_time(hosts: Hosts, first: dict[str, t.Any]) -> None:
    options = {**join_options(hosts.mgr2, "worker", first), "remote_addrs": first["managers"], "timeout": 1}
    with hosts.mgr1.frozen():
        for _ in range(2):
            refusal = hosts.mgr2.refusal("swarm_member", **options)
            assert "mgr2 is still pending" in refusal
    joined = hosts.mgr2.module("swarm_member", **{**options, "timeout": 60})
    assert (joined["state"], joined["cluster_id"]) == ("active", first["cluster_id"])
    assert not hosts.mgr2.module("swarm_member", **options)["changed"]


def test_failing_14_a_demotion_has_no_guard(hosts: Hosts, first: dict[str, t.Any]) -> None:
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
    refusals = {
        hosts.mgr1.refusal("swarm_member", role="manager", advertise_addr=hosts.mgr1.address),
        hosts.mgr1.refusal("swarm_nodes", nodes=nodes),
        hosts.mgr1.refusal("swarm_network", name="net"),
        hosts.mgr1.refusal("swarm_stack", name="web", compose={"services": {"a": {"image": "x"}}}),
    }
    assert all("does not have a leader" in refusal for refusal in refusals), refusals
    hosts.mgr2.mend()
    wait_for(lambda: hosts.mgr1.docker("info", "--format", "{{.Swarm.Error}}"), lambda error: not error, timeout=60)
    found_again = hosts.mgr1.module("swarm_member", role="manager", advertise_addr=hosts.mgr1.address)
    assert (found_again["changed"], found_again["cluster_id"]) == (False, first["cluster_id"])
    assert not hosts.mgr1.module("swarm_nodes", nodes=[*nodes, wish(hosts.mgr2)])["changed"]


def test_failing_13_another_node_s_state_is_taken_for_the_manager_s(hosts: Hosts, first: dict[str, t.Any]) -> None:
    nodes = [wish(hosts.mgr1), wish(hosts.gpu1)]
    hosts.gpu1.stop()
    wait_for(
        lambda: hosts.mgr1.docker("node", "inspect", "--format", "{{.Status.State}}", nodes[1]["node_id"]),
        lambda state: state == "down",
        timeout=60,
    )
    refusal = hosts.mgr1.refusal("swarm_nodes", nodes=nodes, timeout=1)
    assert "not right after 1 s: gpu1.lan is down" in refusal
    hosts.gpu1.start()
    assert not hosts.mgr1.module("swarm_nodes", nodes=nodes)["changed"]


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


def test_failing_12_a_host_that_left_and_joined_again_is_ambiguous(hosts: Hosts, first: dict[str, t.Any]) -> None:
    old = wish(hosts.gpu1)["node_id"]
    hosts.gpu1.docker("swarm", "leave")
    joined = hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", first))
    assert joined["node_id"] != old
    unknown = hosts.mgr1.refusal("swarm_nodes", nodes=[{"node_id": "nosuchnode", "name": "cpu7"}])
    assert "cpu7 (nosuchnode)" in unknown
    result = hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1)])
    assert [node["node_id"] for node in result["removed"]] == [old]
    assert hosts.mgr1.docker("node", "ls", "--format", "{{.Hostname}}").split() == ["gpu1", "mgr1"]


def test_failing_06_a_host_that_left_stays_behind_as_an_entry(hosts: Hosts, first: dict[str, t.Any]) -> None:
    gone = [wish(hosts.gpu1, state="absent")]
    assert hosts.gpu1.settle("swarm_member", state="absent")["changed"]
    assert hosts.mgr1.settle("swarm_nodes", nodes=gone)["changed"]
    assert hosts.mgr1.docker("node", "ls", "--format", "{{.Hostname}}") == "mgr1"
    assert hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", first))["changed"]


def test_the_last_manager_stays_as_long_as_somebody_needs_it(hosts: Hosts, first: dict[str, t.Any]) -> None:
    refusal = hosts.mgr1.refusal("swarm_member", state="absent", timeout=1)
    assert "gpu1" in refusal
    assert hosts.gpu1.settle("swarm_member", state="absent")["changed"]
    hosts.mgr1.module("swarm_member", state="absent", check=True)  # waits until gpu1 shows Down
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
