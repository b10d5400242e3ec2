"""Fairness: work that no browser sees is activity, who is idle makes room, and everybody sees who has held cards."""

from __future__ import annotations

import csv
import datetime
import io
import re
import time
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_session import TokenSession
from playwright.sync_api import Page, expect

from .cards import mend, spoil, timed_start, where
from .conftest import Lab, run_playbook, screenshot, sign_in

#: Seconds within which a notebook has looked twice at its processes and cards.
TWO_LOOKS = 140
IDLE_TIMEOUT = 600
#: A fifth of a core, and for no longer than the test may take.
PROGRAM = """
import time
end = time.time() + 1200
while time.time() < end:
    until = time.time() + 0.02
    while time.time() < until:
        pass
    time.sleep(0.08)
"""


def work(lab: Lab, session: TokenSession) -> None:
    """Let a process work in a notebook, as one that was started with nohup and left alone."""
    host, container = where(lab, session)
    lab.docker("exec", "--detach", container, "nohup", "python3", "-c", PROGRAM, host=host)


def last_activity(session: TokenSession) -> datetime.datetime:
    """What the notebook's server says, which is what it reports to the hub; asking is no activity."""
    status = session.request("GET", f"{session.server_path}api/status").json()
    return datetime.datetime.fromisoformat(status["last_activity"].replace("Z", "+00:00"))


@pytest.fixture(scope="module")
def notebooks(lab: Lab) -> t.Iterator[dict[str, TokenSession]]:
    """A notebook with a process at work, one with a card at work, and one at rest."""
    sessions = {what: lab.add_user(f"e2e-fair-{what}") for what in ("process", "card", "rest")}
    try:
        timed_start(sessions["process"], lab.profile(cards=False))
        work(lab, sessions["process"])
        try:
            for host in lab.inventory["gpu_workers"]["hosts"]:
                spoil(lab, host, lambda seen: [card.update(utilization=90) for card in seen["cards"]])
            timed_start(sessions["card"], lab.profile(cards=True))
        finally:
            mend(lab)  # a container goes on seeing what it saw at first
        timed_start(sessions["rest"], lab.profile(cards=True))
        yield sessions
    finally:
        for session in sessions.values():
            lab.remove_user(session)


def test_work_without_a_browser_is_activity_and_rest_is_none(lab: Lab, notebooks: dict[str, TokenSession]) -> None:
    begun = datetime.datetime.now(datetime.UTC)
    at_rest = last_activity(notebooks["rest"])
    for what in ("process", "card"):
        while last_activity(notebooks[what]) <= begun:
            assert (datetime.datetime.now(datetime.UTC) - begun).total_seconds() < TWO_LOOKS
            time.sleep(2)
        print(f"{what}: {(last_activity(notebooks[what]) - begun).total_seconds():.0f} s")
    passed = (datetime.datetime.now(datetime.UTC) - begun).total_seconds()
    time.sleep(max(TWO_LOOKS / 2 - passed, 0))  # it has looked as well by then
    assert last_activity(notebooks["rest"]) == at_rest


def test_hours_of_cards_are_on_a_page_and_in_a_file(lab: Lab, page: Page, notebooks: dict[str, TokenSession]) -> None:
    sign_in(lab, page)
    page.goto(f"{lab.access['url'].rstrip('/')}/hub/usage")
    people = page.locator("table[data-kind=user]")
    for what in ("card", "rest"):
        expect(people).to_contain_text(notebooks[what].name)
    expect(people).not_to_contain_text(notebooks["process"].name)
    page.screenshot(path=screenshot("usage"), full_page=True)
    with page.expect_download() as download:
        page.click("text=Download as CSV")
    table = {row["name"]: row for row in csv.DictReader(io.StringIO(download.value.path().read_text()))}
    (held,) = {key for key in table[notebooks["card"].name] if key.startswith("hours")}
    assert 0 < float(table[notebooks["card"].name][held]) < 1
    assert table[notebooks["card"].name]["allowed"] == ""


@pytest.mark.long
def test_an_idle_notebook_with_cards_is_stopped_and_its_owner_told_why(lab: Lab, page: Page) -> None:
    busy, idle = lab.add_user("e2e-fair-busy"), lab.session(lab.access["admin_user"])
    if idle.server() is not None:
        idle.stop()
    try:
        assert run_playbook("site.yml", "-e", f"hub_gpu_idle_timeout={IDLE_TIMEOUT}").code == 0
        timed_start(busy, lab.profile(cards=True))
        work(lab, busy)
        timed_start(idle, lab.profile(cards=True))
        begun = time.monotonic()
        while idle.server() is not None:
            assert time.monotonic() - begun < IDLE_TIMEOUT + 180
            time.sleep(15)
        print(f"stopped after {time.monotonic() - begun:.0f} s")
        assert time.monotonic() - begun >= IDLE_TIMEOUT - 15
        assert busy.server() is not None
        sign_in(lab, page)
        page.goto(f"{lab.access['url'].rstrip('/')}/hub/home")
        expect(page.locator(".announcement")).to_contain_text(re.compile(r"UTC: it had been idle for 1\d min\."))
        page.screenshot(path=screenshot("idle"))
    finally:
        lab.remove_user(busy)
        assert run_playbook("site.yml").code == 0
