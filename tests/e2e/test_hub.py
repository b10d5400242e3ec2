"""What people see of the cluster before they ask for something: the page of the choice, the page of nodes and cards."""

from __future__ import annotations

import re
import time

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


def test_somebody_signs_up_is_let_in_and_sees_the_cluster_without_what_is_the_administrators(
    lab: Lab, page: Page, hub: str
) -> None:
    name, password = "hub-newcomer", "long-enough-for-a-test"

    def fill(fields: dict[str, str], button: str) -> None:
        for field, value in fields.items():
            page.fill(f"[name={field}]", value)
        page.click(button)

    page.goto(f"{hub}/signup")
    fill({"username": name, "signup_password": password, "signup_password_confirmation": password}, "#signup_submit")
    expect(page.locator(".alert")).to_contain_text("has been sent to the admin")
    try:
        page.goto(f"{hub}/login")
        fill({"username": name, "password": password}, "#login_submit")
        expect(page.locator(".login_error")).to_contain_text("has not been authorized by an administrator yet")

        page.context.clear_cookies()
        sign_in(lab, page)
        page.get_by_role("link", name="Accounts").click()
        page.goto(f"{hub}/authorize/{name}")  # a link that anybody may have sent
        expect(page.locator("h1")).to_contain_text("405")
        page.goto(f"{hub}/authorize")
        page.screenshot(path=screenshot("accounts"))
        page.locator(f"#{name}").get_by_role("button", name="Let in").click()
        expect(page.locator(f"#{name}")).to_contain_text("may sign in")
        page.goto(f"{hub}/cluster")
        expect(page.locator(".machine").first).to_contain_text("not reserved")

        page.context.clear_cookies()
        page.goto(f"{hub}/login")
        fill({"username": name, "password": password}, "#login_submit")
        page.wait_for_url(re.compile(r"/hub/(spawn|home)"))
        page.goto(f"{hub}/cluster")
        expect(page.locator(".machine")).to_have_count(len(lab.variables))
        expect(page.locator("#cluster")).not_to_contain_text("not reserved")
        page.screenshot(path=screenshot("cluster-newcomer"))
    finally:
        lab.remove_user(lab.session(name))


def test_an_administrator_stops_somebodys_notebook(lab: Lab, page: Page, hub: str) -> None:
    user = lab.add_user("hub-stopped")
    try:
        timed_start(user, lab.profile(cards=False))
        sign_in(lab, page)
        page.goto(f"{hub}/admin")
        row = page.locator("tr", has_text=user.name)
        page.screenshot(path=screenshot("admin"))
        row.get_by_role("button", name="Stop Server").click()
        expect(row.get_by_role("button", name="Start Server")).to_be_visible(timeout=LIVE)
        assert lab.services(user.name) == []
        assert user.server() is None
    finally:
        lab.remove_user(user)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5])
def test_a_start_that_is_called_off_leaves_nothing(lab: Lab, seconds: float) -> None:
    user = lab.add_user("hub-cancels")
    try:
        user.start(lab.profile(cards=False))
        time.sleep(seconds)
        user.request("DELETE", f"{user.api_path}/server")
        assert user.server() is None
        assert lab.services(user.name) == []
        timed_start(user, lab.profile(cards=False))
    finally:
        lab.remove_user(user)


def test_a_notebooks_processes_are_counted(lab: Lab, notebook: TokenSession) -> None:
    ((host, container),) = lab.containers(*lab.services(notebook.name))
    (found,) = lab.inspect("container", container, host=host)
    assert found["HostConfig"]["PidsLimit"] == 4096
