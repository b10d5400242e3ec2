"""Settling nodes against an engine in memory; tests/integration does the same against real ones."""

from __future__ import annotations

import json
import typing as t

import pytest
import swarm_nodes
from ansible.module_utils.swarmhub import swarm
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.node_guards import satisfied
from ansible.module_utils.swarmhub.nodes import settle
from ansible.module_utils.swarmhub.swarm import Refused
from ansible.module_utils.testing import patch_module_args
from fake_engine import FakeEngine, FakeSwarm


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only where somebody sleeps."""
    now = [0.0]
    monkeypatch.setattr(swarm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(swarm.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


class Cluster:
    """A swarm of three managers and a worker, and the engine of the first manager."""

    def __init__(self) -> None:
        self.swarm = FakeSwarm()
        self.managers = [self.swarm.add_node(f"mgr{number}", role="manager") for number in (1, 2, 3)]
        self.gpu1 = self.swarm.add_node("gpu1", Labels={"calculation_type": "gpu", "empty": ""})
        self.engine = FakeEngine("mgr1", self.swarm, self.managers[0])

    def wish(self, node_id: str, **wanted: t.Any) -> dict[str, t.Any]:
        return {"node_id": node_id, "name": f"{self.hostname(node_id)}.lan", **wanted}

    def hostname(self, node_id: str) -> str:
        node = self.swarm.nodes.get(node_id)
        return node["Description"]["Hostname"] if node else "new"

    def labels(self, node_id: str) -> dict[str, str]:
        labels: dict[str, str] = self.swarm.nodes[node_id]["Spec"]["Labels"]
        return labels

    def settle(self, *nodes: dict[str, t.Any], check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        defaults = {
            "labels_state": "merge",
            "allow_constrained_label_change": False,
            "prune": True,
            "timeout": 5,
        }
        return settle(self.engine, {**defaults, **options, "nodes": list(nodes)}, check_mode=check_mode)

    def settle_thrice(self, *nodes: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        """In check mode, for real, and again: the prediction holds, and the second run changes nothing."""
        predicted = self.settle(*nodes, check_mode=True, **options)
        real = self.settle(*nodes, **options)
        assert (predicted["changed"], predicted["diff"]) == (real["changed"], real["diff"])
        assert not self.settle(*nodes, **options)["changed"]
        return real


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_labels_are_merged(cluster: Cluster) -> None:
    result = cluster.settle_thrice(cluster.wish(cluster.gpu1, labels={"rack": 3, "fast": True}))
    assert cluster.labels(cluster.gpu1) == {"calculation_type": "gpu", "empty": "", "rack": "3", "fast": "true"}
    assert result["nodes"]["gpu1.lan"]["changed"]
    assert result["diff"]["before"] == {
        "gpu1.lan": {
            "labels": {"calculation_type": "gpu", "empty": ""},
            "role": "worker",
            "availability": "active",
        }
    }


def test_a_label_whose_value_is_empty_can_be_removed(cluster: Cluster) -> None:
    assert cluster.settle_thrice(cluster.wish(cluster.gpu1, labels={"empty": None, "missing": None}))["changed"]
    assert cluster.labels(cluster.gpu1) == {"calculation_type": "gpu"}


def test_exact_labels_take_the_others_away(cluster: Cluster) -> None:
    assert cluster.settle_thrice(cluster.wish(cluster.gpu1, labels={"a": "b"}), labels_state="exact")["changed"]
    assert cluster.labels(cluster.gpu1) == {"a": "b"}


def test_exact_leaves_nodes_alone_whose_labels_are_not_given(cluster: Cluster) -> None:
    assert not cluster.settle(cluster.wish(cluster.gpu1), labels_state="exact")["changed"]


def test_an_update_keeps_the_rest_of_the_spec_and_survives_a_conflict(cluster: Cluster) -> None:
    cluster.swarm.conflicts = 2
    cluster.swarm.nodes[cluster.gpu1]["Spec"]["Name"] = "kept"
    cluster.settle(cluster.wish(cluster.gpu1, labels={"a": "b"}, availability="pause"))
    spec = cluster.swarm.nodes[cluster.gpu1]["Spec"]
    assert (spec["Name"], spec["Availability"], spec["Labels"]["a"]) == ("kept", "pause", "b")


def test_nothing_to_do_costs_two_requests_however_many_nodes(cluster: Cluster) -> None:
    nodes = [cluster.wish(cluster.swarm.add_node(f"cpu{number}"), role="worker") for number in range(20)]
    assert not cluster.settle(*nodes)["changed"]
    assert cluster.swarm.requests == ["GET /nodes", "GET /nodes"]


def test_unknown_nodes_are_named(cluster: Cluster) -> None:
    with pytest.raises(Refused, match=r"not in this swarm: cpu7 \(nowhere\), cpu8 \(no node id\)"):
        cluster.settle({"node_id": "nowhere", "name": "cpu7"}, {"node_id": "", "name": "cpu8"})


def test_two_names_of_one_host_are_refused(cluster: Cluster) -> None:
    with pytest.raises(Refused, match=r"gpu1\.lan, other are one and the same node"):
        cluster.settle(cluster.wish(cluster.gpu1), {"node_id": cluster.gpu1, "name": "other"})


def test_check_mode_foresees_a_host_that_is_yet_to_join(cluster: Cluster) -> None:
    result = cluster.settle({"node_id": "", "name": "gpu9", "labels": {"a": 1}}, check_mode=True)
    assert result["changed"]
    assert result["diff"]["after"]["gpu9"] == {"labels": {"a": "1"}, "role": "worker", "availability": "active"}


def test_on_a_worker_the_engines_words_are_passed_on(cluster: Cluster) -> None:
    cluster.engine.node_id = cluster.gpu1
    with pytest.raises(EngineError, match="not a swarm manager"):
        cluster.settle(cluster.wish(cluster.gpu1))


@pytest.mark.parametrize(
    ("labels", "constraints"),
    [
        ({"calculation_type": "cpu"}, ["node.labels.calculation_type==gpu"]),
        ({"calculation_type": None}, ["node.role == worker", "node.labels.calculation_type == GPU"]),
        ({"maintenance": "yes"}, ["node.labels.maintenance != yes"]),
    ],
)
def test_a_label_under_a_running_notebook_stays(
    cluster: Cluster, labels: dict[str, t.Any], constraints: list[str]
) -> None:
    cluster.swarm.run(cluster.gpu1, "alice", constraints)
    wish = cluster.wish(cluster.gpu1, labels=labels)
    for check_mode in (True, False):
        with pytest.raises(Refused, match=r"alice on gpu1\.lan \(nb-alice needs node\.labels"):
            cluster.settle(wish, check_mode=check_mode)
    assert cluster.settle_thrice(wish, allow_constrained_label_change=True)["changed"]


@pytest.mark.parametrize(
    ("user", "constraint", "state"),
    [
        ("alice", "node.labels.rack==3", "running"),
        ("alice", "node.labels.calculation_type==gpu", "complete"),
        (None, "node.labels.calculation_type==gpu", "running"),
    ],
)
def test_a_label_that_no_running_notebook_needs_is_changed(
    cluster: Cluster, user: str | None, constraint: str, state: str
) -> None:
    cluster.swarm.run(cluster.gpu1, user, [constraint], state)
    cluster.swarm.run(cluster.managers[1], "bob", ["node.labels.calculation_type==gpu"])
    assert cluster.settle_thrice(cluster.wish(cluster.gpu1, labels={"calculation_type": "cpu"}))["changed"]


def test_constraints_are_read_as_the_swarm_reads_them() -> None:
    assert satisfied("node.labels.a==X", {"a": "x"})
    assert not satisfied("node.labels.a==x", {})
    assert satisfied("node.labels.a!=x", {})
    assert satisfied("node.hostname==cpu1", {})


def test_demotions_keep_a_majority(cluster: Cluster) -> None:
    one, two, three = cluster.managers
    cluster.swarm.nodes[three]["ManagerStatus"]["Reachability"] = "unreachable"
    with pytest.raises(Refused, match=r"cannot demote mgr2\.lan: of the 2 managers left only 1 would answer"):
        cluster.settle(cluster.wish(two, role="worker"))
    with pytest.raises(Refused, match="runs on one of them"):
        cluster.settle(cluster.wish(one, role="worker"))
    assert cluster.swarm.nodes[two]["Spec"]["Role"] == "manager"


def test_promotions_come_before_demotions(cluster: Cluster) -> None:
    demoted = [cluster.wish(node_id, role="worker") for node_id in cluster.managers[1:]]
    assert cluster.settle_thrice(*demoted, cluster.wish(cluster.gpu1, role="manager"))["changed"]
    updates = [request.split("/")[2] for request in cluster.swarm.requests if request.endswith("/update")]
    assert updates == [cluster.gpu1, *cluster.managers[1:]]


def test_a_node_that_is_not_ready_in_time_is_named(cluster: Cluster) -> None:
    cluster.swarm.nodes[cluster.gpu1]["Status"] = {"State": "down", "Message": "heartbeat failure"}
    with pytest.raises(Refused, match=r"not right after 5 s: gpu1\.lan is down \(heartbeat failure\)"):
        cluster.settle(cluster.wish(cluster.gpu1))


def test_cards_that_are_not_advertised_are_named(cluster: Cluster) -> None:
    cards = [{"NamedResourceSpec": {"Kind": "GPU", "Value": value}} for value in ("GPU-b", "GPU-a")]
    cluster.swarm.nodes[cluster.gpu1]["Description"]["Resources"] = {"GenericResources": cards}
    wish = cluster.wish(cluster.gpu1, generic_resources={"GPU": ["GPU-a", "GPU-b"]})
    assert cluster.settle(wish)["nodes"]["gpu1.lan"]["generic_resources"] == {"GPU": ["GPU-a", "GPU-b"]}
    with pytest.raises(Refused, match=r"gpu1\.lan advertises GPU \['GPU-a', 'GPU-b'\] instead of \['GPU-c'\]"):
        cluster.settle(cluster.wish(cluster.gpu1, generic_resources={"GPU": ["GPU-c"]}))


def test_a_drain_says_what_ran_and_waits_for_its_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.swarm.run(cluster.gpu1, "alice")
    cluster.swarm.run(cluster.gpu1, None)
    wish = cluster.wish(cluster.gpu1, availability="drain")
    assert cluster.settle(wish, check_mode=True)["drained"] == {"gpu1.lan": ["nb-alice", "nb-other"]}
    with pytest.raises(Refused, match=r"gpu1\.lan still runs 2 task\(s\); what runs there is nb-alice, nb-other"):
        cluster.settle(wish)
    cluster.swarm.tasks.clear()
    assert cluster.settle(wish)["drained"] == {}


MARK = "swarmhub.drained_from"


def availability(cluster: Cluster) -> str:
    return str(cluster.swarm.nodes[cluster.gpu1]["Spec"]["Availability"])


@pytest.mark.parametrize("before", ["active", "pause"])
@pytest.mark.parametrize("labels_state", ["merge", "exact"])
def test_a_drain_for_a_restart_gives_back_what_was(cluster: Cluster, before: str, labels_state: str) -> None:
    cluster.settle(cluster.wish(cluster.gpu1, availability=before))
    cluster.settle_thrice(cluster.wish(cluster.gpu1, for_restart="pause"))
    assert (availability(cluster), cluster.labels(cluster.gpu1)[MARK]) == ("pause", before)
    drained = cluster.settle_thrice(cluster.wish(cluster.gpu1, for_restart="drain"))
    assert (availability(cluster), cluster.labels(cluster.gpu1)[MARK]) == ("drain", before)
    assert drained["drained"] == {"gpu1.lan": []}
    # A killed run's next one: labels are settled as ever, and the mark is not one of theirs.
    cluster.settle_thrice(cluster.wish(cluster.gpu1, labels={"rack": "3"}), labels_state=labels_state)
    assert cluster.labels(cluster.gpu1)[MARK] == before
    wish = cluster.wish(cluster.gpu1, labels={"rack": "3"}, for_restart="over")
    assert cluster.settle_thrice(wish, labels_state=labels_state)["changed"]
    assert availability(cluster) == before
    assert MARK not in cluster.labels(cluster.gpu1)


def test_somebody_elses_drain_stays(cluster: Cluster) -> None:
    cluster.settle(cluster.wish(cluster.gpu1, availability="drain"))
    for step in ("pause", "drain", "over"):
        assert not cluster.settle(cluster.wish(cluster.gpu1, for_restart=step))["changed"]
    assert availability(cluster) == "drain"


def test_a_drain_that_somebody_ended_leaves_only_its_mark_to_remove(cluster: Cluster) -> None:
    cluster.settle(cluster.wish(cluster.gpu1, for_restart="drain"))
    cluster.swarm.nodes[cluster.gpu1]["Spec"]["Availability"] = "active"
    assert cluster.settle_thrice(cluster.wish(cluster.gpu1, for_restart="over"))["changed"]
    assert availability(cluster) == "active"
    assert MARK not in cluster.labels(cluster.gpu1)


def test_what_somebody_asks_for_by_name_is_not_given_back_to_anything(cluster: Cluster) -> None:
    cluster.settle(cluster.wish(cluster.gpu1, for_restart="pause"))
    cluster.settle(cluster.wish(cluster.gpu1, availability="drain"))
    assert not cluster.settle(cluster.wish(cluster.gpu1, for_restart="over"))["changed"]
    assert availability(cluster) == "drain"


def test_a_drain_for_a_restart_waits_for_the_notebooks(cluster: Cluster) -> None:
    cluster.swarm.run(cluster.gpu1, "alice")
    with pytest.raises(Refused, match="what runs there is nb-alice"):
        cluster.settle(cluster.wish(cluster.gpu1, for_restart="drain"))


def test_managers_restart_only_while_the_others_are_a_majority(cluster: Cluster) -> None:
    first, second, third = cluster.managers
    assert cluster.settle(cluster.wish(first, for_restart="drain"), check_mode=True)["changed"]
    with pytest.raises(Refused, match=r"cannot restart mgr1.lan, mgr2.lan now: 1 of 3 managers would answer"):
        cluster.settle(*(cluster.wish(node_id, for_restart="drain") for node_id in (first, second)))
    cluster.swarm.kill(third)
    with pytest.raises(Refused, match=r"cannot restart mgr2.lan now"):
        cluster.settle(cluster.wish(second, for_restart="drain"))
    for node_id in (second, third):
        del cluster.swarm.nodes[node_id]
    assert cluster.settle(cluster.wish(first, for_restart="drain"))["changed"]


def test_only_stale_twins_of_hosts_in_the_list_are_pruned(cluster: Cluster) -> None:
    twin = cluster.swarm.add_node("gpu1", state="down")
    dead_manager = cluster.swarm.add_node("gpu1", state="down", role="manager")
    other = cluster.swarm.add_node("cpu1", state="down")
    namesake = cluster.swarm.add_node("gpu1")
    assert cluster.settle(cluster.wish(cluster.gpu1), prune=False)["removed"] == []
    result = cluster.settle_thrice(cluster.wish(cluster.gpu1))
    assert [node["node_id"] for node in result["removed"]] == [twin, dead_manager]
    assert {other, namesake} <= cluster.swarm.nodes.keys()


def test_a_twin_at_the_hosts_own_address_is_pruned_once_it_is_down(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = cluster.swarm.add_node("gpu1")
    status = cluster.swarm.nodes[twin]["Status"]
    status["Addr"] = cluster.swarm.nodes[cluster.gpu1]["Status"]["Addr"]
    assert cluster.settle(cluster.wish(cluster.gpu1), check_mode=True)["changed"]
    with pytest.raises(Refused, match=f"node {twin} of gpu1 cannot be removed, since its engine is still ready"):
        cluster.settle(cluster.wish(cluster.gpu1))
    monkeypatch.setattr(swarm.time, "sleep", lambda _seconds: status.update(State="down"))
    assert cluster.settle(cluster.wish(cluster.gpu1))["removed"] == [{"node_id": twin, "hostname": "gpu1"}]


def test_a_node_is_removed_once_its_host_has_left(cluster: Cluster) -> None:
    gone = cluster.wish(cluster.gpu1, state="absent", labels={"ignored": "x"})
    assert cluster.settle(gone, check_mode=True)["changed"]
    with pytest.raises(Refused, match=r"node .* of gpu1 cannot be removed, .*let that host leave first"):
        cluster.settle(gone)
    cluster.swarm.nodes[cluster.gpu1]["Status"]["State"] = "down"
    result = cluster.settle_thrice(gone)
    assert result["removed"] == [{"node_id": cluster.gpu1, "hostname": "gpu1"}]
    assert result["nodes"] == {}
    assert cluster.gpu1 not in cluster.swarm.nodes


def test_a_node_whose_host_left_by_itself_is_removed_at_once(cluster: Cluster) -> None:
    assert cluster.settle_thrice(cluster.wish(cluster.gpu1, state="absent", left=True))["changed"]
    assert cluster.gpu1 not in cluster.swarm.nodes


def test_a_dead_manager_is_removed_where_the_quorum_allows(cluster: Cluster) -> None:
    second, third = cluster.managers[1:]
    cluster.swarm.kill(third)
    assert cluster.settle_thrice(cluster.wish(third, state="absent"))["changed"]
    assert third not in cluster.swarm.nodes
    with pytest.raises(Refused, match="run it on a manager that stays one"):
        cluster.settle(cluster.wish(cluster.managers[0], state="absent"))
    assert second in cluster.swarm.nodes


def test_the_module_itself(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(swarm_nodes, "DockerEngine", lambda _docker_host: cluster.engine)
    arguments = {"nodes": [cluster.wish(cluster.gpu1, labels={"rack": 3, "empty": None})]}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        swarm_nodes.main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["nodes"]["gpu1.lan"]["labels"] == {
        "calculation_type": "gpu",
        "rack": "3",
    }
