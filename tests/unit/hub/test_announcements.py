"""What is announced, and whom maintenance keeps from starting; the API and the pages are in test_app.py."""

from __future__ import annotations

import asyncio
import datetime
import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import Places, empty_database, message
from jupyterhub import orm
from sqlalchemy.orm import Session
from swarmhub_hub.announcements import UPGRADE, Announcement, Announcements, may_upgrade
from swarmhub_hub.settings import PROBE_USER, Profile
from swarmhub_hub.spawner import SpawnFailed, SwarmhubSpawner

NOW = datetime.datetime.now(datetime.UTC)
HOUR = datetime.timedelta(hours=1)
CLOSED = Announcement("upgrade", "The hub is being upgraded.", maintenance=True)


@pytest.fixture
def announcements() -> Announcements:
    return Announcements(orm.new_session_factory(empty_database())())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "text: write 1 to 1000"),
        ({"text": " "}, "text: write 1 to 1000"),
        ({"text": "x" * 1001, "maintenance": 1}, "text: write 1 to 1000 characters; maintenance: write true"),
        ({"text": "x", "colour": "red"}, "colour: is no key"),
        ({"text": "x", "users": "alice"}, "users: write a list"),
        ({"text": "x", "until": "tomorrow"}, "until: is 'tomorrow'"),
        ({"text": "x", "until": "2026-01-31T18:00:00"}, "until: is '2026-01-31T18:00:00'; write a time with its zone"),
        ({"text": "x", "maintenance": "yes"}, "maintenance: write true or false"),
        ({"text": "x", "maintenance": True, "users": ["alice"]}, "maintenance: concerns everybody"),
    ],
)
def test_what_cannot_be_announced_is_said(body: t.Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Announcement.parse("a", body)


def test_what_is_read_is_what_was_written(announcements: Announcements) -> None:
    said = Announcement.parse("a", {"text": " x ", "until": (NOW + HOUR).isoformat(), "users": ["alice"]})
    announcements.put(Announcement("a", "replaced by the next"))
    announcements.put(said)
    assert announcements.current() == [said]
    assert announcements.take_back("a")
    assert not announcements.take_back("a")
    assert announcements.current() == []


def test_one_that_has_ended_is_said_no_more(announcements: Announcements) -> None:
    announcements.put(Announcement("old", "x", until=NOW - HOUR))
    announcements.put(Announcement("new", "x", until=NOW + HOUR))
    assert [each.name for each in announcements.current()] == ["new"]


def test_one_for_some_is_shown_to_nobody_else(announcements: Announcements) -> None:
    announcements.put(Announcement("some", "x", users=("alice",)))
    announcements.put(Announcement("everybody", "x"))
    alice, bob = orm.User(name="alice"), orm.User(name="bob")
    assert [each.name for each in announcements.shown_to(alice)] == ["everybody", "some"]
    assert [each.name for each in announcements.shown_to(bob)] == ["everybody"]
    assert [each.name for each in announcements.shown_to(None)] == ["everybody"]


def choose(spawner: SwarmhubSpawner, **options: str) -> Profile:
    return asyncio.run(spawner.choose(options))


def test_maintenance_lets_nobody_start_but_administrators_and_the_probe(places: Places) -> None:
    spawner = places.spawner()
    spawner.announcements.put(CLOSED)
    with pytest.raises(SpawnFailed) as refused:
        choose(spawner)
    assert (refused.value.status_code, message(refused.value)) == (
        503,
        "No notebook can be started now: The hub is being upgraded.",
    )
    assert choose(places.spawner("admin", admin=True)).slug == "cpu"
    assert choose(places.spawner(PROBE_USER)).slug == "cpu"
    spawner.announcements.take_back(CLOSED.name)
    assert choose(spawner).slug == "cpu"


def test_who_was_waiting_for_cards_goes_on_in_maintenance(places: Places) -> None:
    spawner = places.spawner(groups=["gpu-users"])
    profile = next(profile for profile in spawner.settings.profiles if profile.gpus)
    spawner.queue.enter(spawner.user.name, "", profile, "")
    places.start_hub()
    spawner.announcements.put(CLOSED)
    assert choose(spawner, profile=profile.slug) == profile
    with pytest.raises(SpawnFailed):
        choose(places.spawner("bob", groups=["gpu-users"]), profile=profile.slug)


def test_the_schema_is_upgraded_where_upgrade_yml_lets_it_and_in_no_other_maintenance(tmp_path: Path) -> None:
    url = empty_database(tmp_path)
    assert not may_upgrade(url, {})
    with Session(sa.create_engine(url)) as db:
        announcements = Announcements(db)
        announcements.put(CLOSED)
        assert not may_upgrade(url, {})
        announcements.put(Announcement(UPGRADE, "The database is dumped.", users=()))
        assert may_upgrade(url, {})
        assert [each.name for each in announcements.shown_to(None)] == [CLOSED.name]
