"""Who loses a notebook, when and why, and what is said before and after."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import functools
import logging
import types
import typing as t

import pytest
import requests
from conftest import Places, start
from fake_docker import FakeDocker
from jupyterhub import orm
from jupyterhub.objects import Server as HubServer
from swarmhub_hub import culler
from swarmhub_hub.app import SwarmhubApp
from swarmhub_hub.culler import Lifetime, Server, verdict
from swarmhub_hub.settings import Settings
from swarmhub_hub.spawner import SwarmhubSpawner

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
MINUTE = datetime.timedelta(minutes=1)


def server(idle: datetime.timedelta, age: datetime.timedelta) -> Server:
    return Server("alice", "", "cpu", NOW - age, NOW - idle)


@pytest.mark.parametrize(
    ("lifetime", "idle", "age", "words"),
    [
        (Lifetime(HOUR, None), 59 * MINUTE, 99 * HOUR, ""),
        (Lifetime(HOUR, None), HOUR, 99 * HOUR, "it had been idle for 1 h"),
        (Lifetime(HOUR, None), 99 * HOUR, 59 * MINUTE, ""),  # what is known is of an earlier server
        (Lifetime(None, 24 * HOUR), 23 * HOUR, 24 * HOUR - MINUTE, ""),
        (Lifetime(None, 24 * HOUR), 0 * HOUR, 24 * HOUR, "it had run for 24 h, as long as a notebook of its kind may"),
        (Lifetime(None, None), 999 * HOUR, 999 * HOUR, ""),
    ],
)
def test_a_notebook_ends_when_it_is_idle_or_old(
    lifetime: Lifetime, idle: datetime.timedelta, age: datetime.timedelta, words: str
) -> None:
    assert verdict(server(idle, age), lifetime, NOW) == words


def test_notebooks_with_cards_have_limits_of_their_own(settings: Settings) -> None:
    settings = dataclasses.replace(settings, idle_timeout=7200, gpu_idle_timeout=3600, max_age=0, gpu_max_age=86400)
    assert Lifetime.of(settings, "cpu") == Lifetime(2 * HOUR, None)
    assert Lifetime.of(settings, "gpu") == Lifetime(HOUR, 24 * HOUR)
    assert Lifetime.of(settings, "gone") == Lifetime(2 * HOUR, None)


@pytest.fixture
def limited(places: Places) -> Places:
    places.settings = dataclasses.replace(
        places.settings, idle_timeout=7200, gpu_idle_timeout=3600, max_age=86400, gpu_max_age=0
    )
    places.start_hub()
    return places


def run(places: Places, name: str, slug: str, idle: datetime.timedelta, age: datetime.timedelta) -> SwarmhubSpawner:
    """Start a server as JupyterHub would, and let it be idle and old."""
    spawner = places.spawner(name, admin=True)
    start(spawner, profile=slug)
    orm_server = orm.Server(base_url=f"/user/{name}/")
    places.db.add(orm_server)
    places.db.commit()
    spawner.server = HubServer(orm_server=orm_server)
    spawner.orm_spawner.started = (NOW - age).replace(tzinfo=None)
    spawner.orm_spawner.last_activity = (NOW - idle).replace(tzinfo=None)
    places.db.commit()
    spawner.user.spawners[""] = spawner
    return spawner


def cull(places: Places, *spawners: SwarmhubSpawner) -> list[str]:
    """Let the hub look once; return whose routes it has taken away."""
    removed: list[str] = []

    async def delete_user(user: t.Any, name: str) -> None:
        removed.append(user.name)

    hub: t.Any = types.SimpleNamespace(
        swarmhub_settings=places.settings,
        db=places.db,
        users={spawner.user.name: spawner.user for spawner in spawners},
        proxy=types.SimpleNamespace(delete_user=delete_user),
        log=logging.getLogger(),
    )
    hub._cull = functools.partial(SwarmhubApp._cull, hub)
    asyncio.run(SwarmhubApp.cull_once(hub))
    return removed


def told(spawner: SwarmhubSpawner) -> list[str]:
    return [each.text for each in spawner.announcements.shown_to(spawner.user)]


def test_w_the_idle_and_the_old_are_stopped_and_told_why_until_they_start_again(
    limited: Places, engine: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    engine.cards = {"gpu1": ("card",)}
    caplog.set_level(logging.INFO)
    spawners = [
        run(limited, "alice", "cpu", idle=90 * MINUTE, age=23 * HOUR),
        run(limited, "bob", "gpu", idle=90 * MINUTE, age=23 * HOUR),
        run(limited, "carol", "cpu", idle=MINUTE, age=24 * HOUR),
    ]
    alice, bob, carol = spawners
    assert cull(limited, *spawners) == ["bob", "carol"]
    assert [service["Spec"]["Name"] for service in engine.live.values()] == [alice.object_name]
    assert "Stopping the notebook of bob: it had been idle for 1 h" in caplog.messages
    assert told(alice) == []
    assert [text.rpartition("UTC: ")[2] for text in told(bob)] == ["it had been idle for 1 h."]
    assert [text.rpartition("UTC: ")[2] for text in told(carol)] == [
        "it had run for 24 h, as long as a notebook of its kind may."
    ]
    assert cull(limited, *spawners) == []
    start(bob, profile="gpu")
    assert told(bob) == []


def test_one_that_is_on_its_way_is_left_alone(limited: Places) -> None:
    spawner = run(limited, "alice", "cpu", idle=9 * HOUR, age=25 * HOUR)
    spawner._spawn_pending = True
    assert cull(limited, spawner) == []


def test_a_swarm_without_an_answer_keeps_nobody_else(limited: Places, engine: FakeDocker) -> None:
    spawner = run(limited, "alice", "cpu", idle=9 * HOUR, age=9 * HOUR)

    async def ask() -> None:
        raise requests.exceptions.ConnectionError

    spawner.ask = ask  # type: ignore[method-assign]
    other = run(limited, "bob", "cpu", idle=9 * HOUR, age=9 * HOUR)
    assert cull(limited, spawner, other) == ["bob"]
    assert told(spawner) == []
    assert len(told(other)) == 1
    del spawner.ask
    assert cull(limited, spawner, other) == ["alice"], "when the swarm answers again"


def test_who_may_not_run_for_much_longer_is_warned(limited: Places) -> None:
    run(limited, "alice", "cpu", idle=MINUTE, age=21 * HOUR)
    bob = run(limited, "bob", "cpu", idle=MINUTE, age=22 * HOUR)
    assert culler.warnings(limited.db, limited.settings, "alice", NOW) == []
    (warning,) = culler.warnings(limited.db, limited.settings, "bob", NOW)
    assert warning.text == "Save your work in time: your notebook may run for 24 h."
    assert (warning.until, warning.users) == (NOW + 2 * HOUR, ("bob",))
    assert culler.warnings(limited.db, limited.settings, "nobody", NOW) == []
    assert bob.announcements.current() == []


def test_waiting_for_cards_is_no_part_of_the_age(limited: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("card",)}
    spawner = limited.spawner(groups=["gpu-users"])
    spawner.orm_spawner.started = (NOW - 9 * HOUR).replace(tzinfo=None)
    limited.db.commit()

    async def listens() -> None:
        limited.db.rollback()  # as JupyterHub does when somebody asks for a page

    spawner._wait_until_it_listens = listens  # type: ignore[method-assign]
    start(spawner, profile="gpu")
    assert spawner.orm_spawner.started.replace(tzinfo=datetime.UTC) >= NOW
