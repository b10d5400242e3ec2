"""How many notebooks could start now, and how the page says so."""

from __future__ import annotations

import asyncio
import typing as t
from collections import Counter

import pytest
from conftest import Places, start
from fake_docker import FakeDocker, refused
from swarmhub_hub.availability import Room, room_for
from swarmhub_hub.nodes import Holdings, Node
from swarmhub_hub.settings import Profile
from test_placement import node

GIB = 2**30


def profile(**more: t.Any) -> Profile:
    return Profile(**{"slug": "p", "display_name": "P", "image": "i", **more})


def room(wanted: Profile, *nodes: Node, waiting: t.Sequence[Profile] = ()) -> Room:
    return room_for(wanted, Holdings(list(nodes), Counter()), waiting)


def test_cards_are_counted_where_a_notebook_of_the_profile_could_be() -> None:
    nodes = (node("gpu1", 2, 1), node("gpu2", 8, 7), node("away", 8, available=False), node("full", 4, -1))
    assert room(profile(gpus=1), *nodes) == Room(8, 8, 14)
    assert room(profile(gpus=4), *nodes) == Room(1, 8, 14)
    assert room(profile(gpus=9), *nodes) == Room(0, 8, 14)


def test_cores_and_memory_beside_the_cards_count_as_well() -> None:
    small = node("gpu1", 4, memory=5 * GIB, cpus=8 * 10**9)
    assert room(profile(gpus=1, mem_guarantee=2 * GIB), small).starts == 2
    assert room(profile(gpus=1, cpu_guarantee=8), small).starts == 1
    assert room(profile(gpus=1, cpu_guarantee=9), small).starts == 0


def test_who_waits_for_the_same_cards_is_counted() -> None:
    nodes = (node("a", 2, 0, labels={"gpu_model": "a100"}), node("b", 2, labels={"gpu_model": "h100"}))
    waiting = [profile(gpus=1, gpu_model="a100"), profile(gpus=1), profile(gpus=1, gpu_model="h100")]
    assert room(profile(gpus=1, gpu_model="a100"), *nodes, waiting=waiting) == Room(0, 0, 2, 2)


def test_without_cards_the_nodes_that_the_constraints_allow_count() -> None:
    cpu = {"labels": {"calculation_type": "cpu"}, "cpus": 4 * 10**9, "memory": 8 * GIB}
    nodes = (node("cpu1", 0, **cpu), node("cpu2", 0, **cpu), node("gpu1", 2), node("off", 0, **cpu, available=False))
    wanted = {"constraints": ("node.labels.calculation_type==cpu",)}
    assert room(profile(**wanted, cpu_guarantee=1, mem_guarantee=4 * GIB), *nodes) == Room(4)
    assert room(profile(**wanted), *nodes) == Room(None)
    assert room(profile(**wanted), nodes[2]) == Room(0)


def test_a_shared_card_is_never_taken() -> None:
    shared = node("gpu1", 0, shared=Counter({"GPU-a": 7}))
    assert room(profile(gpus=1, gpu_shared=True), shared).starts is None
    assert room(profile(gpus=1, gpu_shared=True, cpu_guarantee=3), shared).starts == 2


@pytest.mark.parametrize(
    ("gpus", "found", "words"),
    [
        (0, Room(None), "Starts at once"),
        (0, Room(3), "3 could start now"),
        (0, Room(0), "None could start now"),
        (1, Room(2, 2, 6), "2 could start now: 2 of 6 cards free"),
        (1, Room(0, 0, 6, 2), "None could start now: 0 of 6 cards free, 2 waiting"),
    ],
)
def test_it_is_said_in_a_sentence(gpus: int, found: Room, words: str) -> None:
    assert found.words(profile(gpus=gpus)) == words


def test_the_form_says_it_and_goes_without_where_the_engine_gives_no_answer(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a", "b")}
    start(places.spawner("bob", groups=["gpu-users"]), profile="gpu")
    spawner = places.spawner(groups=["gpu-users"])
    form = asyncio.run(spawner.form())
    assert 'data-room="gpu">1 could start now: 1 of 2 cards free<' in form
    engine.failure = refused("no leader", 503)
    places.start_hub()
    assert 'data-room="gpu"><' in asyncio.run(spawner.form())
    # Who has nothing to choose is not kept waiting for it.
    assert asyncio.run(places.spawner("carol").form()) == ""
