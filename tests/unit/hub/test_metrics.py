"""What Prometheus is told of the cluster, and where it finds the nodes' exporters."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from swarmhub_hub.availability import Seen
from swarmhub_hub.metrics import families, model_of, targets
from swarmhub_hub.nodes import Node
from swarmhub_hub.queue import Waiter
from swarmhub_hub.settings import Settings
from test_cluster_page import NOW, node, task

NODES = [
    node("gpu1", "GPU-a", "GPU-b", gpu_model="rtx-a6000", gpu_shared="GPU-s"),
    node("gpu2", "GPU-c", gpu_model="rtx-3090", availability="drain"),
    node("cpu1", state="down"),
]
TASKS = [
    task("alice", "gpu1", "GPU-a"),
    task("bob", "gpu1", shared="GPU-s"),
    task("carol", "gpu1", shared="GPU-s"),
    task("dave", "gpu1", "GPU-b", state="failed"),
    task("erin", "cpu1", state="starting"),
    task("", "gpu1"),
]


def lines(settings: Settings, seen: Seen | None = None, *waiters: Waiter) -> list[str]:
    seen = seen or Seen(NODES, TASKS, [])
    text = families(seen, waiters, settings, NOW).text().decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_cards_nodes_and_notebooks_are_counted(settings: Settings) -> None:
    assert lines(settings) == [
        "swarmhub_waiting_starts 0.0",
        "swarmhub_longest_wait_seconds 0.0",
        "swarmhub_swarm_answers 1.0",
        'swarmhub_notebooks{profile="cpu"} 0.0',
        'swarmhub_notebooks{profile="gpu"} 3.0',
        'swarmhub_node_state{availability="active",node="gpu1",state="ready"} 1.0',
        'swarmhub_node_state{availability="drain",node="gpu2",state="ready"} 1.0',
        'swarmhub_node_state{availability="active",node="cpu1",state="down"} 1.0',
        'swarmhub_cards{model="rtx-a6000",node="gpu1"} 2.0',
        'swarmhub_cards{model="rtx-3090",node="gpu2"} 1.0',
        'swarmhub_cards_free{model="rtx-a6000",node="gpu1"} 1.0',
        'swarmhub_cards_free{model="rtx-3090",node="gpu2"} 0.0',
        'swarmhub_card_info{node="gpu1",uuid="GPU-a"} 1.0',
        'swarmhub_card_info{node="gpu1",uuid="GPU-b"} 1.0',
        'swarmhub_card_info{node="gpu1",uuid="GPU-s"} 1.0',
        'swarmhub_card_info{node="gpu2",uuid="GPU-c"} 1.0',
        'swarmhub_card_holders{node="gpu1",profile="gpu",user="",uuid="GPU-a"} 1.0',
        'swarmhub_card_holders{node="gpu1",profile="gpu",user="",uuid="GPU-s"} 2.0',
    ]


def test_people_are_named_only_where_they_may_be(settings: Settings) -> None:
    named = dataclasses.replace(settings, metrics_users=True)
    assert [line for line in lines(named) if "card_holders" in line] == [
        'swarmhub_card_holders{node="gpu1",profile="gpu",user="alice",uuid="GPU-a"} 1.0',
        'swarmhub_card_holders{node="gpu1",profile="gpu",user="bob",uuid="GPU-s"} 1.0',
        'swarmhub_card_holders{node="gpu1",profile="gpu",user="carol",uuid="GPU-s"} 1.0',
    ]


def test_who_waits_is_counted_from_the_first_on(settings: Settings) -> None:
    waiters = [Waiter(n, "x", "", settings.profiles[1], "", NOW.timestamp() - wait) for n, wait in enumerate((90, 30))]
    assert lines(settings, None, *waiters)[:2] == ["swarmhub_waiting_starts 2.0", "swarmhub_longest_wait_seconds 90.0"]


def test_what_the_engine_does_not_tell_has_no_metric(settings: Settings) -> None:
    text = families(None, [], settings, NOW).text().decode()
    assert "swarmhub_swarm_answers 0.0" in text
    assert "swarmhub_node" not in text


@pytest.mark.parametrize(
    ("kind", "model"), [("GPU", "a100"), ("GPU_RTX_A6000", "rtx-a6000"), ("MIG_1G_10GB", "mig-1g-10gb")]
)
def test_a_kind_has_the_model_that_profiles_name(kind: str, model: str) -> None:
    fields = {field.name: None for field in dataclasses.fields(Node)}
    assert model_of(Node(**t.cast("t.Any", {**fields, "labels": {"gpu_model": "a100"}})), kind) == model


def test_every_node_has_its_exporter_a_manager_at_the_address_that_others_know() -> None:
    manager = {**node("mgr1"), "Status": {"State": "ready", "Addr": "0.0.0.0"}}
    manager["ManagerStatus"] = {"Addr": "192.0.2.11:2377"}
    worker = {**node("cpu1"), "Status": {"State": "down", "Addr": "192.0.2.21"}}
    nameless = {**node("new"), "Status": {"State": "unknown"}}
    assert targets([manager, worker, nameless]) == [
        {"targets": ["192.0.2.11:9100"], "labels": {"node": "mgr1"}},
        {"targets": ["192.0.2.21:9100"], "labels": {"node": "cpu1"}},
    ]
