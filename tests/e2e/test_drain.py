"""A node goes out of service while people work on it, and comes back."""

from __future__ import annotations

import re
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.swarmhub.probe_session import TokenSession
from playwright.sync_api import Page

from .conftest import Lab, PlayResult, run_playbook, screenshot
from .outage import people_on

NODE = "gpu2"  # with four cards
BUSY, IDLE = ["drain-busy-1", "drain-busy-2"], ["drain-idle-1", "drain-idle-2"]
STOPPED = re.compile(r"(drain-\S+) .*stopped after (\d+) s: (\w+)")


def drain(*arguments: str, node: str = NODE) -> PlayResult:
    return run_playbook("playbooks/drain_node.yml", "-e", f"node={node}", *arguments)


def availability(lab: Lab) -> str:
    return lab.docker("node", "inspect", "--format={{.Spec.Availability}}", NODE)


@pytest.fixture(scope="module")
def working(lab: Lab, pool: ThreadPoolExecutor) -> t.Iterator[dict[str, TokenSession]]:
    """Four notebooks on one node, two of them with a busy kernel, by user."""
    try:
        with people_on(lab, pool, dict.fromkeys((*BUSY, *IDLE), NODE), BUSY) as sessions:
            yield sessions
    finally:
        lab.docker("node", "update", "--availability=active", NODE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-e", "node="), "say which node"),
        (("-e", "node=gpu9"), "gpu9: the cluster has no such node. Nothing was changed."),
        (("-e", "node=mgr1"), "mgr1 has no other manager at work beside it"),
        (("-e", "drain_wait=soon"), "drain_idle and drain_wait are whole seconds"),
        ((), "Nothing was changed: type gpu2, or run with -e confirm=yes"),
    ],
)
def test_nothing_is_touched_unless_it_was_asked_for(lab: Lab, arguments: tuple[str, ...], words: str) -> None:
    result = drain(*arguments)
    assert result.code != 0
    assert words in result.output
    assert set(result.changed.values()) <= {0}
    assert availability(lab) == "active"


def test_who_is_busy_is_left_alone_until_it_is_asked_for(lab: Lab, working: dict[str, TokenSession]) -> None:
    result = drain("-e", "confirm=yes", "-e", "drain_wait=0")
    assert result.code != 0
    assert f"Still at work on {NODE}: {', '.join(working)}" in result.output
    assert "1 of 1 kernels busy" in result.output
    assert availability(lab) == "pause"
    assert all(session.server() for session in working.values())


def test_a_drain_tells_people_and_stops_the_idle_at_once_and_the_busy_at_the_deadline(
    lab: Lab, working: dict[str, TokenSession], pool: ThreadPoolExecutor
) -> None:
    arguments = ("-e", "confirm=yes", "-e", "drain_idle=1", "-e", "drain_wait=30", "-e", "drain_busy=stop")
    running = pool.submit(drain, *arguments)
    told = []
    while not running.done():
        told = working[BUSY[0]].request("GET", "hub/api/announcements").json() or told
        time.sleep(1)
    result = running.result()

    assert result.code == 0, result.output
    (announcement,) = told
    assert announcement["users"] == sorted(working)
    assert f"Your notebook runs on {NODE}, which goes out of service" in announcement["text"]
    stopped = {user: (int(seconds), why) for user, seconds, why in STOPPED.findall(result.output)}
    expected = {**dict.fromkeys(BUSY, "deadline"), **dict.fromkeys(IDLE, "idle")}
    assert {user: why for user, (_, why) in stopped.items()} == expected, result.output
    assert all(stopped[user][0] < 20 for user in IDLE)
    assert all(30 <= stopped[user][0] < 45 for user in BUSY)
    assert availability(lab) == "drain"
    assert working[BUSY[0]].request("GET", "hub/api/announcements").json() == []
    print(f"told {', '.join(announcement['users'])}: {announcement['text']} Until {announcement['until']}")
    print(f"stopped after seconds, and why: {stopped}; the whole run {result.seconds:.0f} s")

    again = drain("-e", "confirm=yes")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output


def test_who_was_stopped_starts_again_elsewhere(lab: Lab, working: dict[str, TokenSession]) -> None:
    session = working[IDLE[0]]
    session.start(lab.profile(cards=True))
    session.wait_until_ready()
    assert [host for host, _ in lab.containers(*lab.services(session.name))] == ["gpu1"]


def test_add_node_gives_it_back(lab: Lab, working: dict[str, TokenSession]) -> None:
    result = run_playbook("playbooks/add_node.yml", "-e", f"node={NODE}")
    assert result.code == 0, result.output
    assert set(result.stats) == {NODE, lab.manager}
    assert availability(lab) == "active"
    assert working[IDLE[0]].server()


def test_an_announcement_is_on_the_page_and_is_taken_back(lab: Lab, page: Page) -> None:
    def announce(*arguments: str) -> PlayResult:
        return run_playbook("playbooks/announce.yml", *arguments)

    silent = announce()
    assert silent.code != 0
    assert "Say what to announce" in silent.output
    wrong = announce("-e", "text=x", "-e", "until=noon")
    assert wrong.code != 0
    assert "noon" in wrong.output
    try:
        for changed in (1, 0):
            said = announce("-e", "{text: The storage <moves> at noon, until: 2999-01-31T18:00:00Z}")
            assert (said.code, set(said.changed.values())) == (0, {changed}), said.output
        page.goto(f"{lab.access['url'].rstrip('/')}/hub/login")
        shown = page.locator(".announcement").inner_text()
        assert "The storage <moves> at noon Until" in " ".join(shown.split())
        assert "2999" in shown
        page.screenshot(path=screenshot("announcement"))
    finally:
        taken_back = announce("-e", "text=")
    assert set(taken_back.changed.values()) == {1}
    page.reload()
    assert page.locator(".announcement").count() == 0
