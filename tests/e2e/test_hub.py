"""What people see of the cluster before they ask for something: the page of the choice, the page of nodes and cards."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.swarmhub.probe_session import TokenSession
from playwright.sync_api import Page, expect

from .cards import CARDS, held_cards, timed_start
from .conftest import Lab, screenshot, sign_in

ALL = sum(CARDS.values())
PHONE = {"width": 390, "height": 844}
LIVE = 20_000  # ms within which a page shows what has changed


@pytest.fixture
def hub(lab: Lab) -> str:
    return f"{lab.access['url'].rstrip('/')}/hub"


def test_the_choice_says_what_could_start_now_and_keeps_saying_it(lab: Lab, page: Page, hub: str) -> None:
    session = lab.session(lab.access["admin_user"])
    if session.server() is not None:
        session.stop()
    sign_in(lab, page)
    page.goto(f"{hub}/spawn")
    room = page.locator(f"[data-room={lab.profile(cards=True)}]")
    expect(room).to_have_text(f"{ALL} could start now: {ALL} of {ALL} cards free")
    expect(page.locator(f"[data-room={lab.profile(cards=False)}]")).to_contain_text(
        re.compile("could start now|at once")
    )
    user = lab.add_user("hub-live")
    try:
        timed_start(user, lab.profile(cards=True))
        expect(room).to_have_text(f"{ALL - 1} could start now: {ALL - 1} of {ALL} cards free", timeout=LIVE)
        page.screenshot(path=screenshot("choice"))
    finally:
        lab.remove_user(user)
    expect(room).to_contain_text(f"{ALL} of {ALL} cards free", timeout=LIVE)


def test_the_clusters_page_shows_cards_changing_hands_also_on_a_phone(lab: Lab, page: Page, hub: str) -> None:
    page.set_viewport_size(PHONE)
    sign_in(lab, page)
    page.goto(f"{hub}/cluster")
    expect(page.locator("#cluster")).to_contain_text(f"{ALL} of {ALL} cards are free")
    assert [name for name in page.locator(".machine strong").all_inner_texts() if name in lab.variables][:2] == list(
        CARDS
    )
    user = lab.add_user("hub-holder")
    try:
        timed_start(user, lab.profile(cards=True))
        (card,) = held_cards(lab, user)
        expect(page.locator(f"[data-card={card}]")).to_contain_text(
            f"{user.name} {lab.profile(cards=True)}", timeout=LIVE
        )
        expect(page.locator("#cluster")).to_contain_text(f"{ALL - 1} of {ALL} cards are free")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.screenshot(path=screenshot("cluster"), full_page=True)
    finally:
        lab.remove_user(user)
    expect(page.locator(f"[data-card={card}]")).to_contain_text("free", timeout=LIVE)


def test_a_notebooks_processes_are_counted(lab: Lab, notebook: TokenSession) -> None:
    ((host, container),) = lab.containers(*lab.services(notebook.name))
    (found,) = lab.inspect("container", container, host=host)
    assert found["HostConfig"]["PidsLimit"] == 4096
