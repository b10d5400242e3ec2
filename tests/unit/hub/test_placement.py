"""Who gets which cards where: first come, packing, overtaking, keeping, limits, sharing."""

from __future__ import annotations

import itertools
import typing as t
from collections import Counter

from swarmhub_hub.nodes import Holdings, Node
from swarmhub_hub.placement import Decision, Limits, Place, Wish, decide, impossible
from swarmhub_hub.settings import Profile

NO_LIMITS = Limits(0, {}, {})
BACKFILL = 600


def node(name: str, cards: int, free: int | None = None, **more: t.Any) -> Node:
    given: dict[str, t.Any] = {"available": True, "labels": {}, "cpus": 8 * 10**9, "memory": 2**40, "shared": Counter()}
    return Node(
        node_id=name,
        hostname=name,
        reachable=True,
        values={},
        all_cpus=8 * 10**9,
        all_memory=2**40,
        total=Counter({"GPU": cards}),
        free=Counter({"GPU": cards if free is None else free}),
        **{**given, **more},
    )


def wish(number: int, gpus: int = 1, *, since: float = 0, user: str = "", **more: t.Any) -> Wish:
    fields = {key: more.pop(key) for key in ("groups", "node_id", "avoid") if key in more}
    profile = Profile(slug="gpu", display_name="GPU", image="i", gpus=gpus, **more)
    return Wish(number, user or f"user{number}", fields.pop("groups", frozenset()), profile, since, **fields)


def decided(wishes: list[Wish], *nodes: Node, now: float = 0, limits: Limits = NO_LIMITS, **held: int) -> Decision:
    return decide(wishes, Holdings(list(nodes), Counter(held)), limits, now, BACKFILL)


def where(decision: Decision) -> dict[int, str]:
    return {number: place.node_id for number, place in decision.places.items()}


def test_small_jobs_leave_whole_workstations_free_in_any_order_of_nodes() -> None:
    for nodes in itertools.permutations([("gpu1", 2), ("gpu2", 4), ("gpu3", 8)]):
        cluster = [node(*each) for each in nodes]
        assert where(decided([wish(1), wish(2), wish(3, 4), wish(4, 8)], *cluster)) == {
            1: "gpu1",
            2: "gpu1",
            3: "gpu2",
            4: "gpu3",
        }


def test_who_came_first_gets_the_card_and_the_others_are_told_their_place() -> None:
    decision = decided([wish(1), wish(2), wish(3)], node("gpu1", 2, 1))
    assert where(decision) == {1: "gpu1"}
    assert decision.waits == {
        2: "Waiting for 1 card, number 1 in the queue: 0 of 2 are free",
        3: "Waiting for 1 card, number 2 in the queue: 0 of 2 are free",
    }


def test_small_jobs_overtake_a_big_one_until_it_has_waited_long() -> None:
    wishes = [wish(1, 4), wish(2)]
    assert where(decided(wishes, node("gpu1", 4, 3), now=BACKFILL - 1)) == {2: "gpu1"}
    assert where(decided(wishes, node("gpu1", 4, 3), now=BACKFILL)) == {}


def test_only_the_node_that_is_closest_is_kept() -> None:
    wishes = [wish(1, 4), wish(2), wish(3, 2)]
    nodes = (node("gpu1", 4, 3), node("gpu2", 8, 1), node("gpu3", 2, 2))
    assert where(decided(wishes, *nodes, now=BACKFILL)) == {2: "gpu2", 3: "gpu3"}


def test_a_node_is_judged_by_cores_memory_and_state_as_well() -> None:
    modest = {"cpu_guarantee": 2.0, "mem_guarantee": 2**30}
    assert where(decided([wish(1, **modest)], node("gpu1", 2, cpus=10**9), node("gpu2", 8))) == {1: "gpu2"}
    assert where(decided([wish(1, **modest)], node("gpu1", 2, memory=1), node("gpu2", 8))) == {1: "gpu2"}
    assert where(decided([wish(1)], node("gpu1", 2, available=False), node("gpu2", 8))) == {1: "gpu2"}
    assert where(decided([wish(1, avoid=frozenset({"gpu1"}))], node("gpu1", 2), node("gpu2", 8))) == {1: "gpu2"}
    assert where(decided([wish(1, node_id="gpu2")], node("gpu1", 2), node("gpu2", 8))) == {1: "gpu2"}


def test_nodes_that_are_away_are_named() -> None:
    decision = decided([wish(1)], node("gpu1", 2, available=False))
    assert decision.waits == {1: "Waiting for 1 card: the nodes that have them are not ready (gpu1)"}


def test_a_model_by_name() -> None:
    nodes = (node("gpu1", 2, labels={"gpu_model": "t4"}), node("gpu2", 8, labels={"gpu_model": "a100"}))
    assert where(decided([wish(1, gpu_model="a100")], *nodes)) == {1: "gpu2"}
    assert impossible(wish(1, gpu_model="a100"), Holdings([*nodes], Counter())) == ""
    assert impossible(wish(1, gpu_model="h100"), Holdings([*nodes], Counter())) == (
        "no node that the profile fits has 1 card (h100)"
    )


def test_what_no_node_could_ever_give() -> None:
    holdings = Holdings([node("gpu1", 2, 0, available=False), node("gpu2", 4, 0)], Counter())
    assert impossible(wish(1, 4), holdings) == ""
    assert "no node that the profile fits has more than 4" in impossible(wish(1, 5), holdings)


def test_what_no_node_is_big_enough_for_is_refused_and_keeps_no_node() -> None:
    wishes = [wish(1, mem_guarantee=2**41), wish(2)]
    assert impossible(wishes[0], Holdings([node("gpu1", 4)], Counter())) == (
        "no node with 1 card has the cores and the memory that the profile sets aside"
    )
    assert where(decided(wishes, node("gpu1", 4), now=BACKFILL)) == {2: "gpu1"}


def test_cards_without_room_beside_them_are_told_so_and_not_kept() -> None:
    wishes = [wish(1, 2, mem_guarantee=2**30), wish(2)]
    decision = decided(wishes, node("gpu1", 4, memory=1), now=BACKFILL)
    assert where(decision) == {2: "gpu1"}
    assert decision.waits[1] == "Waiting for 2 cards: they are free, but not the cores or the memory beside them"


def test_a_node_is_kept_for_one_kind_of_its_cards_alone() -> None:
    mixed = node("gpu1", 0, shared=Counter({"x": 0}))
    mixed.total = Counter({"GPU_A100": 4, "GPU_T4": 2})
    mixed.free = Counter({"GPU_A100": 1, "GPU_T4": 2})
    wishes = [
        wish(1, 4, gpu_model="a100"),
        wish(2, gpu_model="a100"),
        wish(3, gpu_model="t4"),
        wish(4, gpu_shared=True),
    ]
    decision = decided(wishes, mixed, now=BACKFILL)
    assert {number: place.kind for number, place in decision.places.items()} == {3: "GPU_T4", 4: ""}


def test_the_limit_of_a_person() -> None:
    limits = Limits(2, {}, {})
    decision = decided([wish(1, 2, user="alice"), wish(2, user="bob")], node("gpu1", 8), limits=limits, alice=1)
    assert where(decision) == {2: "gpu1"}
    assert decision.waits == {1: "Waiting for 2 cards: you hold 1 card, and 2 are allowed"}
    assert "more than the 2" in limits.refusal(wish(1, 3))


def test_the_limit_of_a_group_counts_all_its_members_and_holds_up_nobody_else() -> None:
    limits = Limits(0, {"students": 2}, {"students": {"alice", "bob"}})
    students = frozenset({"students"})
    wishes = [wish(1, 2, user="alice", groups=students), wish(2, user="bob", groups=students), wish(3)]
    decision = decided(wishes, node("gpu1", 4, 3), limits=limits, now=BACKFILL, bob=1)
    assert where(decision) == {2: "gpu1", 3: "gpu1"}
    assert decision.waits[1].endswith("your group students holds 1 of the 2 cards that it may have")
    assert limits.refusal(wish(1, 3, groups=students))
    assert not Limits(0, {"students": 0}, {}).refusal(wish(1, 3, groups=students))
    assert not limits.refusal(wish(1, 3))


def test_shared_cards_go_to_the_one_that_the_fewest_use_and_count_for_no_limit() -> None:
    shared = {"shared": Counter({"x": 2, "y": 0})}
    nodes = (node("gpu1", 2, 0, **shared), node("gpu2", 2, 0))
    wishes = [wish(number, gpu_shared=True, user="alice") for number in (1, 2, 3)]
    decision = decided(wishes, *nodes, limits=Limits(1, {}, {}))
    assert [place.shared for place in decision.places.values()] == ["y", "y", "x"]
    assert decision.places[1] == Place("gpu1", "gpu1", "", "y")


def test_sharing_needs_a_node_with_shared_cards() -> None:
    sharing = Holdings([node("gpu1", 4, shared=Counter({"x": 0, "y": 0}))], Counter())
    assert impossible(wish(1, gpu_shared=True), sharing) == ""
    none = Holdings([node("gpu1", 4)], Counter())
    assert impossible(wish(1, gpu_shared=True), none) == "no node that the profile fits has 1 shared card"
