"""Hours of cards: what is written down, across hubs that are killed, who may hold more, and what the page says."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import datetime
import io
import time
import typing as t

import pytest
from conftest import Places, message, start
from fake_docker import FakeDocker
from jupyterhub import orm
from sqlalchemy.orm import Session
from swarmhub_hub.announcements import Announcement
from swarmhub_hub.settings import Settings
from swarmhub_hub.spawner import SpawnFailed
from swarmhub_hub.usage import HOUR, WINDOW, Usage
from swarmhub_hub.usage_page import Line, as_csv, lines

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC).timestamp()


def stamp(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


def task(user: str, cards: int, begin: float, state: str = "running", end: float = 0) -> dict[str, t.Any]:
    """Return a task that was made at a time, and whose state is of ``end``."""
    return {
        "ID": f"{user}-{begin}",
        "CreatedAt": stamp(begin),
        "DesiredState": "running",
        "GenericResources": [{"NamedResourceSpec": {"Kind": "GPU", "Value": f"card-{n}"}} for n in range(cards)],
        "Spec": {"ContainerSpec": {"Labels": {"swarmhub.user": user} if user else {}}},
        "Status": {"State": state, "Timestamp": stamp(end or begin)},
    }


@pytest.fixture
def db() -> Session:
    return t.cast(Session, orm.new_session_factory("sqlite:///:memory:")())


@pytest.fixture
def usage(db: Session, settings: Settings) -> Usage:
    return Usage(db, settings)


def rounded(usage: Usage, now: float = NOW, users: t.Collection[str] | None = None) -> dict[str, float]:
    return {user: round(hours, 2) for user, hours in usage.hours(now, users).items()}


def test_cards_count_from_the_tasks_beginning_for_as_long_as_they_are_held(usage: Usage) -> None:
    alice, bob = task("alice", 2, NOW - 3 * HOUR), task("bob", 1, NOW - HOUR)
    usage.note([alice, bob, task("", 4, NOW - HOUR), task("carol", 0, NOW - HOUR)], NOW)
    assert rounded(usage) == {"alice": 6, "bob": 1}
    usage.note([alice], NOW + HOUR)
    assert rounded(usage, NOW + HOUR) == {"alice": 8, "bob": 1}
    assert rounded(usage, NOW + HOUR, {"bob"}) == {"bob": 1}


@pytest.mark.parametrize("state", ["complete", "failed", "shutdown"])
def test_a_hub_that_was_killed_finds_out_when_a_task_ended(db: Session, settings: Settings, state: str) -> None:
    begin = NOW - 5 * HOUR
    Usage(db, settings).note([task("alice", 1, begin)], NOW - 4 * HOUR)
    db.close()
    after = Usage(db, settings)
    ended = task("alice", 1, begin, state, end=NOW - 2 * HOUR)
    unseen = task("bob", 2, NOW - 3 * HOUR, state, end=NOW - 2 * HOUR)
    after.note([ended, unseen], NOW)
    after.note([ended, unseen], NOW + HOUR)
    assert rounded(after) == {"alice": 3, "bob": 2}


def test_a_hub_that_was_killed_goes_on_with_what_still_runs(db: Session, settings: Settings) -> None:
    running = task("alice", 1, NOW - 5 * HOUR)
    Usage(db, settings).note([running], NOW - 4 * HOUR)
    after = Usage(db, settings)
    after.note([running], NOW)
    assert rounded(after) == {"alice": 5}


def test_a_task_on_a_node_that_went_down_counts_until_it_was_last_seen(usage: Usage) -> None:
    running = task("alice", 1, NOW - 2 * HOUR)
    usage.note([running], NOW - HOUR)
    usage.note([{**running, "DesiredState": "shutdown"}], NOW)
    assert rounded(usage) == {"alice": 1}


def test_a_clock_that_is_ahead_makes_no_negative_hours(usage: Usage) -> None:
    usage.note([task("alice", 1, NOW + 60), task("bob", 1, NOW - HOUR, "failed", end=NOW + 60)], NOW)
    assert rounded(usage) == {"alice": 0, "bob": 1}


def test_only_the_last_thirty_days_count_and_are_kept(usage: Usage, db: Session) -> None:
    usage.note([task("alice", 1, NOW - WINDOW - 5 * HOUR, "complete", end=NOW - WINDOW + HOUR)], NOW)
    usage.note([task("bob", 1, NOW - WINDOW - 5 * HOUR, "complete", end=NOW - WINDOW - HOUR)], NOW)
    assert rounded(usage) == {"alice": 1}
    usage.note([], NOW + 2 * HOUR)
    assert rounded(usage, NOW) == {}


def test_who_has_used_their_hours_is_told_how_many_and_until_when(db: Session, settings: Settings) -> None:
    settings = dataclasses.replace(settings, user_gpu_hours=4, group_gpu_hours={"lab": 6, "free": 0, "empty": 1})
    usage = Usage(db, settings)
    db.add(orm.Group(name="lab", users=[orm.User(name="alice"), orm.User(name="bob")]))
    db.commit()
    usage.note([task("alice", 1, NOW - 3 * HOUR)], NOW)
    assert usage.refusal("alice", ["lab", "free", "empty"], NOW) == ""
    usage.note([task("bob", 2, NOW - 3 * HOUR)], NOW)
    # Of six hours more than two must lie back, at two cards: one hour and a minute after they began.
    assert usage.refusal("bob", [], NOW) == (
        "you have used 6.0 hours of cards in the last 30 days, and 4 are allowed; "
        "the first are free again on 2026-03-02 at 10:01 UTC."
    )
    assert usage.refusal("alice", ["lab", "free"], NOW) == (
        "your group lab has used 9.0 hours of cards in the last 30 days, and 6 are allowed; "
        "the first are free again on 2026-03-02 at 10:01 UTC."
    )
    assert usage.refusal("alice", ["free"], NOW) == ""


def test_beyond_the_hours_nothing_with_cards_starts_and_the_rest_does(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("card",)}
    places.settings = dataclasses.replace(places.settings, user_gpu_hours=1)
    places.start_hub()
    spawner = places.spawner(groups=["gpu-users"])
    spawner.usage.note([task("alice", 1, time.time() - 2 * HOUR)], time.time())
    with pytest.raises(SpawnFailed) as refused:
        start(spawner, profile="gpu")
    assert refused.value.status_code == 403
    assert message(refused.value).startswith(
        "The notebook cannot start: you have used 2.0 hours of cards in the last 30 days"
    )
    assert start(spawner, profile="cpu")


def test_what_a_stopped_notebook_has_held_is_written_down(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("card",)}
    spawner = places.spawner(groups=["gpu-users"])
    start(spawner, profile="gpu")
    asyncio.run(spawner.stop())
    assert list(spawner.usage.hours(time.time())) == ["alice"]


def test_who_comes_after_somebody_of_the_same_name_inherits_neither_hours_nor_words(places: Places) -> None:
    places.settings = dataclasses.replace(places.settings, user_gpu_hours=1)
    places.start_hub()
    alice = places.spawner()
    alice.user.spawners[""] = alice
    now = time.time()
    running = task("alice", 1, now - 2 * HOUR)
    alice.usage.note([running, task("bob", 1, now - HOUR)], now)
    alice.announcements.put(Announcement("stopped", "It had been idle.", users=("alice",)))
    alice.announcements.put(Announcement("drain", "Save your work.", users=("alice", "bob")))
    alice.announcements.put(Announcement("all", "The hub rests."))
    assert alice.usage.refusal("alice", [], now)
    asyncio.run(alice.user.delete_spawners())  # as JupyterHub does before it removes a user
    alice.usage.note([running], now + 60)
    assert alice.usage.refusal("alice", [], now + 60) == ""
    assert rounded(alice.usage, now) == {"alice/former": 2.02, "bob": 1}
    told = {each.name: each.users for each in alice.announcements.current()}
    assert told == {"all": None, "drain": ("bob",)}


def test_a_long_name_that_has_parted_fits(usage: Usage) -> None:
    usage.note([task("a" * 255, 1, NOW - HOUR)], NOW)
    usage.forget_user("a" * 255)
    [name] = usage.hours(NOW)
    assert (len(name), name[-8:]) == (255, "a/former")


def test_a_group_has_so_many_servers_at_a_time(places: Places) -> None:
    places.settings = dataclasses.replace(places.settings, group_server_limits={"students": 1})
    places.start_hub()
    alice, bob = (places.spawner(name, groups=["students"]) for name in ("alice", "bob"))
    start(alice)
    alice.orm_spawner.server = orm.Server(base_url="/user/alice/")
    places.db.commit()
    with pytest.raises(SpawnFailed) as refused:
        start(bob)
    assert (refused.value.status_code, message(refused.value)) == (
        403,
        "The notebook cannot start: your group students has 1 of the 1 notebooks that it may have at a time.",
    )
    assert start(alice), "one's own is no other's"
    assert start(places.spawner("carol"))
    alice.orm_spawner.server = None
    places.db.commit()
    assert start(bob)


def test_of_two_who_ask_for_the_last_place_at_the_same_moment_the_first_has_it(places: Places) -> None:
    places.settings = dataclasses.replace(places.settings, group_server_limits={"students": 1})
    places.start_hub()
    spawners = alice, bob = [places.spawner(name, groups=["students"]) for name in ("alice", "bob")]
    for spawner in spawners:  # JupyterHub writes a server down before it starts it
        spawner.orm_spawner.server = orm.Server(base_url=f"/user/{spawner.user.name}/")
        places.db.commit()
    with pytest.raises(SpawnFailed, match="403"):
        start(bob)
    assert start(alice)
    with pytest.raises(SpawnFailed, match="403"):
        start(bob)


def test_the_table_has_groups_and_people_with_the_most_hours_first(db: Session, settings: Settings) -> None:
    settings = dataclasses.replace(settings, user_gpu_hours=9, group_gpu_hours={"lab": 6})
    usage = Usage(db, settings)
    db.add(orm.Group(name="lab", users=[orm.User(name="alice"), orm.User(name="bob")]))
    db.commit()
    now = time.time()
    usage.note([task("alice", 1, now - HOUR), task("bob", 2, now - HOUR), task("carol", 1, now - HOUR)], now)

    def table(users: t.Collection[str] | None, groups: t.Iterable[str]) -> list[Line]:
        return [dataclasses.replace(each, hours=round(each.hours, 1)) for each in lines(usage, settings, users, groups)]

    everybody = [
        Line("group", "lab", 3, 6),
        Line("group", "none", 0, 0),
        Line("user", "bob", 2, 9),
        Line("user", "alice", 1, 9),
        Line("user", "carol", 1, 9),
    ]
    assert table(None, ["lab", "none"]) == everybody
    assert table(["alice"], ["lab"]) == [everybody[0], everybody[3]]
    assert table(["dave"], []) == [Line("user", "dave", 0, 9)]
    assert as_csv([everybody[0], everybody[1]]).splitlines() == [
        "kind,name,hours_of_cards_in_30_days,allowed",
        "group,lab,3.00,6",
        "group,none,0.00,",
    ]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_name_is_no_formula_of_a_spreadsheet(first: str) -> None:
    [_, row] = csv.reader(io.StringIO(as_csv([Line("user", f"{first}1+1", 0, 0)]), newline=""))
    assert row[1] == f"'{first}1+1"
    [_, row] = csv.reader(io.StringIO(as_csv([Line("user", f"a{first}1", 0, 0)]), newline=""))
    assert row[1] == f"a{first}1"
