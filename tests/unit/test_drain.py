"""What notebooks are at, and in which order a drain ends them."""

from __future__ import annotations

import datetime
import types
import typing as t

import pytest
from ansible.module_utils.swarmhub import drain as drain_module
from ansible.module_utils.swarmhub.drain import Drain, Notebook, activity, moment
from ansible.module_utils.swarmhub.probe_session import HubError

START = "2026-01-31T18:00:00.123456789Z"
NOW = datetime.datetime(2026, 1, 31, 18, 10, tzinfo=datetime.UTC)


def kernel(state: str, minute: int) -> dict[str, str]:
    return {"execution_state": state, "last_activity": f"2026-01-31T18:{minute:02}:00.5Z"}


@pytest.mark.parametrize(
    ("kernels", "terminals", "idle", "words"),
    [
        ([], [], 599.9, "idle for 600 s (nothing open)"),
        ([kernel("idle", 4)], [], 359.5, "idle for 360 s (1 kernels)"),
        ([kernel("dead", 4), kernel("idle", 2)], [kernel("", 9)], 59.5, "idle for 60 s (2 kernels, 1 terminals)"),
        ([kernel("busy", 1), kernel("idle", 9)], [], None, "1 of 2 kernels busy"),
        ([kernel("starting", 9)], [], None, "1 of 1 kernels busy"),
        ([kernel("idle", 11)], [], 0, "idle for 0 s (1 kernels)"),
    ],
)
def test_what_a_notebook_is_at(kernels: list[t.Any], terminals: list[t.Any], idle: float | None, words: str) -> None:
    found, doing = activity(START, kernels, terminals, NOW)
    assert (found, doing) == (idle if idle is None else pytest.approx(idle, abs=0.1), words)


def test_times_of_the_engine_and_of_jupyter_are_read() -> None:
    assert moment(START).microsecond == 123456
    assert moment("2026-01-31T18:00:00Z") == moment("2026-01-31T18:00:00.0Z")


class Hub:
    """Gives sessions as `Session` does; a user's ``state`` is what the one kernel is in, or what goes wrong."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.stopped: list[str] = []

    def session(self, user: str) -> t.Any:
        def request(_method: str, path: str) -> t.Any:
            if self.states[user] == "silent":
                raise HubError("503")
            found = [kernel(self.states[user], 0)] if path.endswith("kernels") else []
            return types.SimpleNamespace(headers={"Date": "Sat, 31 Jan 2026 18:10:00 GMT"}, json=lambda: found)

        def stop() -> None:
            if self.states[user] == "silent":
                raise HubError("still running 60 s after the stop")
            self.stopped.append(user)

        return types.SimpleNamespace(server_path=f"user/{user}/", request=request, stop=stop)

    def drain(self) -> Drain:
        return Drain([Notebook(user, "gpu", "gpu1", START) for user in self.states], self.session)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "INTERVAL", 0.01)


def test_a_look_stops_nothing() -> None:
    hub = Hub(alice="busy", bob="idle", carol="silent")
    drain = hub.drain()
    drain.look()
    assert hub.stopped == []
    assert [each.row()["outcome"] for each in drain.notebooks] == ["runs"] * 3
    assert drain.notebooks[2].doing == "no answer: 503"


def test_the_idle_end_and_the_busy_are_left() -> None:
    hub = Hub(alice="busy", bob="idle", carol="silent")
    drain = hub.drain()
    drain.run(idle_for=300, wait=0.05, stop_busy=False)
    assert (hub.stopped, [each.user for each in drain.left]) == (["bob"], ["alice", "carol"])


def test_who_is_idle_for_too_short_a_time_is_left() -> None:
    hub = Hub(bob="idle")
    hub.drain().run(idle_for=601, wait=0, stop_busy=False)
    assert hub.stopped == []


def test_at_the_deadline_all_end_and_what_the_hub_cannot_stop_is_left_to_the_swarm() -> None:
    hub = Hub(alice="busy", bob="idle", carol="silent")
    drain = hub.drain()
    drain.run(idle_for=300, wait=0.05, stop_busy=True)
    assert (hub.stopped, drain.left) == (["bob", "alice"], [])
    outcomes = [each.outcome for each in drain.notebooks]
    assert [outcome.rpartition(": ")[2] for outcome in outcomes[:2]] == ["deadline", "idle"]
    assert outcomes[2] == "left to the swarm, which ends it with the node's drain"
    assert drain.notebooks[2].doing == "not stopped: still running 60 s after the stop"
