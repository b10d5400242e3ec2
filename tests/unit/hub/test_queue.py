"""The queue: nobody's service before its cards are free, in the order of asking, also after a new start of the hub."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import typing as t

import pytest
from conftest import Places, message, start
from fake_docker import FakeDocker, refused, status
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from swarmhub_hub import queue as queue_module
from swarmhub_hub import spawner as spawner_module
from swarmhub_hub.queue import Row
from swarmhub_hub.settings import Settings
from swarmhub_hub.spawner import SpawnFailed, SwarmhubSpawner

Start = asyncio.Task[tuple[str, int]]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "INTERVAL", 0.05)


def pins(engine: FakeDocker) -> list[str]:
    return [
        service["task_template"]["Placement"]["Constraints"][-1].removeprefix("node.id==id-")
        for service in engine.created
    ]


def rows(places: Places) -> list[str]:
    return list(places.db.scalars(select(Row.user_name).order_by(Row.number)))


async def begin(spawner: SwarmhubSpawner, **options: str) -> Start:
    """Start a server with a card, and return once it waits or has its service."""
    await spawner._run_apply_user_options({"profile": "gpu", **options})
    task = asyncio.create_task(spawner.start())
    while not (task.done() or spawner.object_id or (spawner._waiter and spawner._waiter.words)):
        await asyncio.sleep(0.01)
    return task


async def give_up(*tasks: Start) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_cards_are_packed_also_for_those_who_ask_at_the_same_moment(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a", "b", "c", "d"), "cpu1": ("e", "f")}
    spawners = [places.spawner(name, admin=True) for name in ("alice", "bob", "carol")]

    async def together() -> None:
        await asyncio.gather(*(spawner._run_apply_user_options({"profile": "gpu"}) for spawner in spawners))
        await asyncio.gather(*(spawner.start() for spawner in spawners))

    asyncio.run(together())
    assert pins(engine) == ["cpu1", "cpu1", "gpu1"]
    assert rows(places) == []


def test_waiters_have_no_service_and_get_their_cards_in_their_order(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    spawners = [places.spawner(name, admin=True) for name in ("alice", "bob", "carol", "dave")]

    async def one_after_the_other() -> None:
        tasks = [await begin(spawner) for spawner in spawners]
        assert len(engine.created) == 1
        assert [spawner._waiter.words for spawner in spawners[1:] if spawner._waiter] == [
            f"Waiting for 1 card (A100), number {number} in the queue: 0 of 1 are free" for number in (1, 2, 3)
        ]
        assert await anext(aiter(spawners[3].progress())) == {
            "progress": 5,
            "message": "Waiting for 1 card (A100), number 3 in the queue: 0 of 1 are free",
        }
        for spawner, task in zip(spawners, tasks, strict=True):
            await asyncio.wait_for(task, 2)
            assert [each.done() for each in tasks] == [each.user.name <= spawner.user.name for each in spawners]
            await spawner.stop()

    asyncio.run(one_after_the_other())
    assert [service["labels"]["swarmhub.user"] for service in engine.created] == ["alice", "bob", "carol", "dave"]


def test_who_cancels_leaves_the_queue(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.extra_tasks = [engine.holding("gpu1", 1)]

    async def cancel() -> None:
        first, second = [await begin(places.spawner(name, admin=True)) for name in ("alice", "bob")]
        assert rows(places) == ["alice", "bob"]
        await give_up(first)
        assert rows(places) == ["bob"]
        engine.extra_tasks = []
        await asyncio.wait_for(second, 2)

    asyncio.run(cancel())
    assert [service["labels"]["swarmhub.user"] for service in engine.created] == ["bob"]


def test_waiters_hold_up_nobody_who_needs_no_card(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.extra_tasks = [engine.holding("gpu1", 1)]

    async def crowd() -> None:
        tasks = [await begin(places.spawner(f"waiting{number}", admin=True)) for number in range(6)]
        lucky = places.spawner("lucky")
        await lucky._run_apply_user_options({})
        assert await lucky.start()
        await give_up(*tasks)

    asyncio.run(asyncio.wait_for(crowd(), 5))


def test_a_hub_that_is_started_again_serves_them_in_their_order(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.extra_tasks = [engine.holding("gpu1", 1)]
    names = ("alice", "bob", "carol")
    spawners = {name: places.spawner(name, admin=True) for name in names}

    async def until_the_hub_stops() -> None:
        tasks = [await begin(spawners[name]) for name in names]
        SwarmhubSpawner.queue.closing = True
        await give_up(*tasks)

    asyncio.run(until_the_hub_stops())
    assert rows(places) == [*names]

    async def after_that() -> None:
        queue = places.start_hub()
        assert [waiter.user for waiter in queue.unasked()] == [*names]
        last = await begin(places.spawner("newcomer", admin=True))
        engine.extra_tasks = []
        await asyncio.sleep(0.2)
        assert engine.created == []  # kept for alice, who has not asked again yet
        tasks = {name: await begin(spawners[name]) for name in reversed(names)}
        for name in names:
            await asyncio.wait_for(tasks[name], 2)
            await spawners[name].stop()
        await asyncio.wait_for(last, 2)

    asyncio.run(after_that())
    assert [service["labels"]["swarmhub.user"] for service in engine.created] == [*names, "newcomer"]
    assert rows(places) == []


def test_who_does_not_ask_again_loses_the_place_when_the_hub_says_so(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    for profile, since in (("gpu", time.time()), ("no more", time.time()), ("gpu", 0)):
        places.db.add(Row(user_name="gone", server_name="", profile=profile, node_id="", since=since))
    places.db.commit()
    queue = places.start_hub()
    (gone,) = queue.unasked()

    async def outlast() -> None:
        task = await begin(places.spawner("alice", admin=True))
        await asyncio.sleep(0.2)
        assert engine.created == []
        queue.forget(gone)
        await asyncio.wait_for(task, 2)

    asyncio.run(outlast())
    assert rows(places) == []


def test_another_profile_goes_to_the_end(places: Places, settings: Settings) -> None:
    queue = places.start_hub()
    cpu, gpu = settings.profiles
    first = queue.enter("alice", "", gpu, "")
    queue.enter("bob", "", gpu, "")
    queue.closing = True
    again = places.start_hub()
    assert again.enter("alice", "", gpu, "").number == first.number
    assert rows(places) == ["alice", "bob"]
    third = places.start_hub()
    third.enter("alice", "", cpu, "")
    assert rows(places) == ["bob", "alice"]


def test_where_the_scheduler_finds_no_room_another_node_is_taken(
    places: Places, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "ASSIGN_SECONDS", 0.2)
    engine.cards = {"gpu1": ("a",), "cpu1": ("b", "c")}
    engine.script = [status("pending", "no suitable node (insufficient resources on 4 nodes)")]
    spawner = places.spawner(admin=True)

    async def elsewhere() -> None:
        task = await begin(spawner)
        engine.script = [status("running")]
        await asyncio.wait_for(task, 3)

    asyncio.run(elsewhere())
    assert pins(engine) == ["gpu1", "cpu1"]
    assert len(engine.live) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "no node that the profile fits has 1 card (A100)"),
        ({"user_gpu_limit": 1}, "2 cards at a time are more than the 1 that a person may hold"),
        ({"group_gpu_limits": {"gpu-users": 1}}, "2 cards at a time are more than the 1 that group gpu-users may hold"),
    ],
)
def test_what_can_never_be_is_said_at_once(
    places: Places, engine: FakeDocker, changes: dict[str, t.Any], words: str
) -> None:
    if changes:
        cpu, gpu = places.settings.profiles
        profiles = (cpu, dataclasses.replace(gpu, gpus=2))
        places.settings = dataclasses.replace(places.settings, profiles=profiles, **changes)
        engine.cards = {"gpu1": ("a", "b")}
        places.start_hub()
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner(groups=["gpu-users"]), profile="gpu")
    assert caught.value.status_code == 409
    assert words in message(caught.value)
    assert rows(places) == []


def test_who_waits_too_long_is_told_for_what(places: Places, engine: FakeDocker) -> None:
    places.settings = dataclasses.replace(places.settings, queue_timeout=1)
    engine.cards = {"gpu1": ("a",)}
    engine.extra_tasks = [engine.holding("gpu1", 1)]
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner(admin=True), profile="gpu")
    assert message(caught.value).startswith("No place was free for 1 s. Waiting for 1 card (A100), number 1")
    assert engine.created == []
    assert rows(places) == []


def test_a_swarm_without_an_answer_ends_no_waiting(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.extra_tasks = [engine.holding("gpu1", 1)]

    async def hiccup() -> None:
        task = await begin(places.spawner(admin=True))
        engine.failure = refused("rpc error: no leader")
        await asyncio.sleep(0.3)
        assert not task.done()
        engine.failure, engine.extra_tasks = None, []
        await asyncio.wait_for(task, 2)

    asyncio.run(hiccup())


def test_a_swarm_without_a_leader_costs_nobody_the_place_nor_the_notebook(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.refusal = refused("rpc error: the swarm does not have a leader")
    engine.script = [status("starting")]
    spawner = places.spawner(admin=True)

    async def election() -> None:
        await spawner._run_apply_user_options({"profile": "gpu"})
        task = asyncio.create_task(spawner.start())
        await asyncio.sleep(0.3)
        assert rows(places) == ["alice"]
        engine.refusal = None
        while not spawner.object_id:
            await asyncio.sleep(0.01)
        engine.failure = refused("rpc error: the swarm does not have a leader")
        await asyncio.sleep(0.5)
        engine.failure = None
        engine.live[spawner.object_id]["script"] = [status("running")]
        await asyncio.wait_for(task, 3)

    asyncio.run(election())
    assert len(engine.live) == 1


def test_an_odd_answer_ends_nobodys_waiting(
    places: Places, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.cards = {"gpu1": ("a",)}
    with monkeypatch.context() as patch:
        patch.setattr(queue_module, "read_holdings", lambda *_: {}["Hostname"])

        async def wait() -> None:
            spawner = places.spawner(admin=True)
            await spawner._run_apply_user_options({"profile": "gpu"})
            task = asyncio.create_task(spawner.start())
            await asyncio.sleep(0.3)
            patch.undo()
            await asyncio.wait_for(task, 2)

        asyncio.run(wait())


def test_a_row_that_the_database_keeps_goes_with_the_next_one(
    places: Places, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.cards = {"gpu1": ("a",)}

    def away(*_: t.Any) -> None:
        raise OperationalError("DELETE", {}, Exception("the database is starting up"))

    with monkeypatch.context() as patch:
        patch.setattr(queue_module.sa, "delete", away)
        assert start(places.spawner("alice", admin=True), profile="gpu")
    assert rows(places) == ["alice"]
    engine.cards = {"gpu1": ("a", "b")}
    assert start(places.spawner("bob", admin=True), profile="gpu")
    assert rows(places) == []


def test_a_service_that_is_refused_is_told_and_the_next_one_gets_the_card(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    engine.refusal = refused("invalid mount")
    with pytest.raises(SpawnFailed, match="invalid mount"):
        start(places.spawner("alice", admin=True), profile="gpu")
    engine.refusal = None
    assert start(places.spawner("bob", admin=True), profile="gpu")


def test_a_start_with_cards_may_take_the_waiting_and_its_own_time(places: Places) -> None:
    spawner = places.spawner(admin=True)
    asyncio.run(spawner._run_apply_user_options({"profile": "gpu"}))
    with_cards = spawner.start_timeout
    asyncio.run(spawner._run_apply_user_options({"profile": "cpu"}))
    settings = places.settings
    assert settings.queue_timeout == 86400
    # Who needs no card waits for a turn instead.
    assert with_cards - spawner.start_timeout == settings.queue_timeout - settings.start_timeout
