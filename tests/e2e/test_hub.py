"""What people see of the cluster before they ask for something: the page of the choice, the page of nodes and cards."""

from __future__ import annotations

import re
import time

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession
from playwright.sync_api import Page, expect

from .cards import CARDS, held_cards, timed_start, where
from .conftest import Lab, screenshot, sign_in

ALL = sum(CARDS.values())
# Threads until they are refused, 5000 at most, for a minute at most.
BOMB = """
import subprocess, sys
code = '''
import threading, time
threading.stack_size(65536)
made = 0
try:
    while made < 5000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made += 1
except RuntimeError:
    pass
print(made, flush=True)
time.sleep(60)
'''
bomb = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
"""
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


def test_what_runs_away_ends_at_its_limit_and_the_neighbour_answers(lab: Lab, notebook: TokenSession) -> None:
    """Threads count as processes do, and take less of the lab's memory."""
    host, _ = where(lab, notebook)
    neighbour = lab.add_user("hub-neighbour")
    try:
        neighbour.start(lab.profile(cards=False), lab.ssh(host, "hostname").strip())
        neighbour.wait_until_ready()
        assert where(lab, neighbour)[0] == host
        with Kernel(notebook, 60) as kernel, Kernel(neighbour, 60) as other:
            kernel.run(BOMB)
            made = int(kernel.run("print(bomb.stdout.readline())"))
            begun = time.monotonic()
            assert other.run("import os; print(os.system('true'))") == "0\n"
            assert lab.ssh(host, "echo well") == "well\n"
            seconds = time.monotonic() - begun
            assert kernel.run("print(bomb.poll())") == "None\n", "the limit is still reached"
            print(f"{made} threads; a neighbour's process and a sign-in on {host} took {seconds:.1f} s meanwhile")
            kernel.run("bomb.kill(); bomb.wait()")
        assert 3000 < made < 4096
    finally:
        lab.remove_user(neighbour)


def test_what_every_notebook_is_given(lab: Lab, notebook: TokenSession) -> None:
    look = """
import resource, shutil
print(resource.getrlimit(resource.RLIMIT_CORE))
print(shutil.disk_usage("/dev/shm").total)
"""
    with Kernel(notebook, 60) as kernel:
        assert kernel.run(look) == f"(0, 0)\n{256 * 2**20}\n"
    host, container = where(lab, notebook)
    (found,) = lab.inspect("container", container, host=host)
    assert found["HostConfig"]["PidsLimit"] == 4096
    assert found["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}


@pytest.mark.parametrize("path", ["lab", "api/status", "no-such-page"])
def test_a_notebooks_answers_have_the_security_headers(lab: Lab, notebook: TokenSession, path: str) -> None:
    token = {"Authorization": f"token {lab.api_token}"}
    headers = notebook.http.get(f"{lab.access['url'].rstrip('/')}/{notebook.server_path}{path}", headers=token).headers
    assert headers["Content-Security-Policy"].startswith("frame-ancestors 'none'")
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "same-origin")
    assert headers["X-JupyterHub-Version"]
