"""The reaper: what it takes, and what it leaves."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from swarmhub_hub.reaper import Verdict, judge

NOW = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)
NAME = "swarmhub-nb-alice-1"


def verdict(
    state: str | None, *, age: int = 3600, desired: str = "running", known: t.Collection[str] = (), name: str = NAME
) -> Verdict:
    created = (NOW - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    service = {"ID": "s1", "CreatedAt": created, "Spec": {"Name": name}}
    task = {"ServiceID": "s1", "CreatedAt": created, "DesiredState": desired, "Status": {"State": state}}
    other = {"ServiceID": "s2", "CreatedAt": created, "DesiredState": "running", "Status": {"State": "running"}}
    return judge([service], [other] if state is None else [task, other], known, NOW, 300)


@pytest.mark.parametrize("state", ["complete", "failed", "rejected", "shutdown", "orphaned", "remove"])
def test_an_ended_one_is_removed(state: str) -> None:
    assert verdict(state) == Verdict((NAME,), ())


def test_one_whose_node_went_down_is_removed() -> None:
    assert verdict("running", desired="shutdown") == Verdict((NAME,), ())


def test_a_running_one_is_reported_and_left() -> None:
    assert verdict("running") == Verdict((), (NAME,))


@pytest.mark.parametrize("state", ["running", "failed", "pending", None])
def test_what_the_hub_knows_is_left_to_the_hub(state: str | None) -> None:
    assert verdict(state, known={NAME}) == Verdict((), ())


def test_what_is_not_a_notebook_is_left() -> None:
    assert verdict("failed", name="swarmhub_hub") == Verdict((), ())


@pytest.mark.parametrize(("state", "young"), [("pending", 350), ("preparing", 350), (None, 30)])
def test_one_that_never_ran_is_removed_when_no_start_can_take_so_long(state: str | None, young: int) -> None:
    assert verdict(state, age=young) == Verdict((), ())
    assert verdict(state, age=361) == Verdict((NAME,), ())
