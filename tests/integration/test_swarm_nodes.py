"""Labels, drains, conflicts and old entries of nodes; the tests build on one another."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.engine import DockerEngine
from ansible.module_utils.swarmhub.swarm import update, wait_for
from engines import CARDS, Hosts
from swarms import join_options, labels, wish


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
def notebook(hosts: Hosts, first: dict[str, t.Any], empty_image: Path) -> t.Iterator[str]:
    """A service that looks like a running notebook and is constrained to gpu1 by a label."""
    hosts.gpu1.docker("import", str(empty_image), "idle:1")
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


def test_a_node_that_was_drained_for_a_restart_is_given_back(
    hosts: Hosts, first: dict[str, t.Any], notebook: str
) -> None:
    drained = hosts.mgr1.settle("swarm_nodes", nodes=[wish(hosts.gpu1, for_restart="drain")])
    assert drained["drained"] == {"gpu1.lan": [notebook]}
    assert hosts.gpu1.docker("ps", "--quiet") == ""
    hosts.gpu1.stop()
    hosts.gpu1.start()
    assert hosts.gpu1.docker("ps", "--quiet") == "", "the restart ended the drain"

    # As after a killed run: the next one settles labels and cards as ever.
    nodes = [wish(hosts.gpu1, labels={"rack": "3"}, generic_resources={"GPU": CARDS}, for_restart="over")]
    report = hosts.mgr1.settle("swarm_nodes", nodes=nodes)["nodes"]["gpu1.lan"]
    assert (report["availability"], report["state"]) == ("active", "ready")
    assert "swarmhub" not in labels(hosts.mgr1, hosts.gpu1)
    assert wait_for(lambda: hosts.gpu1.docker("ps", "--quiet"), bool, 20), "the service did not come back"


def test_somebody_elses_drain_is_left_alone(hosts: Hosts, first: dict[str, t.Any]) -> None:
    hosts.mgr1.docker("node", "update", "--availability=drain", "gpu1")
    for step in ("pause", "drain", "over"):
        nodes = [wish(hosts.gpu1, for_restart=step)]
        assert hosts.mgr1.module("swarm_nodes", nodes=nodes)["changed"] is False
    hosts.mgr1.docker("node", "update", "--availability=active", "gpu1")


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
