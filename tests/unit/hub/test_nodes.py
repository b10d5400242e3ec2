"""What of the cards is free: the lists of the Engine API, read as the scheduler accounts for them."""

from __future__ import annotations

import typing as t

import pytest
from swarmhub_hub.nodes import Node, kind_of, read_holdings

Json = dict[str, t.Any]


def named(*cards: str, kind: str = "GPU") -> list[Json]:
    return [{"NamedResourceSpec": {"Kind": kind, "Value": card}} for card in cards]


def node(name: str, *cards: str, labels: dict[str, str] | None = None, **status: str) -> Json:
    return {
        "ID": f"id{name}",
        "Spec": {"Labels": labels or {}, "Role": "worker", "Availability": status.get("availability", "active")},
        "Description": {
            "Hostname": name,
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Resources": {"NanoCPUs": 4 * 10**9, "MemoryBytes": 8 * 2**30, "GenericResources": named(*cards)},
        },
        "Status": {"State": status.get("state", "ready"), "Addr": "10.0.0.1"},
    }


def reserving(cards: int, pin: str = "") -> Json:
    wanted = [{"DiscreteResourceSpec": {"Kind": "GPU", "Value": cards}}]
    constraints = [f"node.id=={pin}"] if pin else []
    return {
        "ContainerSpec": {"Labels": {"swarmhub.user": "alice"}},
        "Resources": {"Reservations": {"NanoCPUs": 10**9, "MemoryBytes": 2**30, "GenericResources": wanted}},
        "Placement": {"Constraints": constraints},
    }


def task(state: str, *cards: str, at: str = "idgpu1", service: str = "s1") -> Json:
    return {
        "ServiceID": service,
        "NodeID": at,
        "DesiredState": "remove",
        "Status": {"State": state},
        "Spec": reserving(len(cards)),
        "GenericResources": named(*cards),
    }


def service(cards: int, pin: str, name: str = "s1") -> Json:
    spec = {"Labels": {"swarmhub.user": "alice"}, "TaskTemplate": reserving(cards, pin)}
    return {"ID": name, "Spec": spec}


def look(tasks: list[Json], services: list[Json]) -> Node:
    return read_holdings([node("gpu1", "a", "b", "c")], tasks, services).nodes[0]


@pytest.mark.parametrize("state", ["assigned", "accepted", "preparing", "ready", "starting", "running"])
def test_a_task_holds_its_card_until_it_has_ended_even_while_it_is_being_stopped(state: str) -> None:
    seen = look([task(state, "a")], [])
    assert (seen.free["GPU"], seen.cpus, seen.memory) == (2, 3 * 10**9, 7 * 2**30)


@pytest.mark.parametrize("state", ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"])
def test_an_ended_task_holds_nothing(state: str) -> None:
    seen = look([task(state, "a")], [service(1, "idgpu1")])
    assert (seen.free["GPU"], seen.cpus) == (3, 4 * 10**9)


def test_a_service_without_a_task_holds_its_cards_where_it_is_pinned() -> None:
    assert look([], [service(2, "idgpu1")]).free["GPU"] == 1
    assert look([task("pending", at="")], [service(2, "idgpu1")]).free["GPU"] == 1
    assert look([], [service(2, "")]).free["GPU"] == 3


def test_a_service_whose_task_is_placed_counts_once() -> None:
    assert look([task("running", "a", "b")], [service(2, "idgpu1")]).free["GPU"] == 1


def test_cards_are_counted_by_the_person_who_holds_them() -> None:
    tasks = [task("running", "a"), task("failed", "b", service="s2")]
    seen = read_holdings([node("gpu1", "a", "b", "c")], tasks, [service(2, "idgpu1", "s3")])
    assert seen.by_user == {"alice": 3}


def test_shared_cards_are_counted_by_notebook() -> None:
    shared = {"gpu_shared": "x,y"}
    running = task("running")
    running["Spec"]["ContainerSpec"]["Labels"]["swarmhub.gpu_shared"] = "x"
    (seen,) = read_holdings([node("gpu1", "a", labels=shared)], [running], []).nodes
    assert (dict(seen.shared), seen.free["GPU"]) == ({"x": 1, "y": 0}, 1)


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        ("node.labels.calculation_type==GPU", True),
        ("node.labels.calculation_type != gpu", False),
        ("node.labels.rack!=a", True),
        ("node.role==worker", True),
        ("node.platform.arch==aarch64", False),
        ("nonsense", False),
    ],
)
def test_constraints_are_judged_as_the_scheduler_does(constraint: str, holds: bool) -> None:
    (seen,) = read_holdings([node("gpu1", labels={"calculation_type": "gpu"})], [], []).nodes
    assert seen.meets([constraint]) is holds


def test_kinds_of_a_model() -> None:
    assert kind_of("rtx-a6000") == "GPU_RTX_A6000"
    assert kind_of("mig-1g-10gb") == "MIG_1G_10GB"
    one, mixed = node("gpu1", "a", labels={"gpu_model": "rtx-a6000"}), node("gpu2")
    mixed["Description"]["Resources"]["GenericResources"] = [
        *named("b", kind="GPU_RTX_A6000"),
        *named("c", kind="GPU_T4"),
        *named("d", kind="MIG_1G_10GB"),
    ]
    first, second = read_holdings([one, mixed], [], []).nodes
    assert [first.kinds(model) for model in ("", "rtx-a6000", "t4")] == [["GPU"], ["GPU"], []]
    assert [second.kinds(model) for model in ("", "rtx-a6000", "mig-1g-10gb")] == [
        ["GPU_RTX_A6000", "GPU_T4"],
        ["GPU_RTX_A6000"],
        ["MIG_1G_10GB"],
    ]
    assert read_holdings([one, mixed], [], []).kinds() == ["GPU", "GPU_RTX_A6000", "GPU_T4", "MIG_1G_10GB"]


@pytest.mark.parametrize("status", [{"state": "down"}, {"availability": "drain"}, {"availability": "pause"}])
def test_a_node_that_takes_no_tasks_is_not_available(status: dict[str, str]) -> None:
    (seen,) = read_holdings([node("gpu1", "a", **status)], [], []).nodes
    assert not seen.available


def test_what_a_lost_node_may_still_run_counts_for_its_cards_and_not_for_its_user() -> None:
    seen = read_holdings([node("gpu1", "a", "b", state="down")], [task("running", "a")], [])
    assert (seen.nodes[0].free["GPU"], seen.by_user["alice"]) == (1, 0)


def test_what_the_engine_still_hands_out_is_not_shared_yet() -> None:
    (seen,) = read_holdings([node("gpu1", "a", labels={"gpu_shared": "a,x"})], [], []).nodes
    assert dict(seen.shared) == {"x": 0}
