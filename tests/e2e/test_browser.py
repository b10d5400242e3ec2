"""A person with a real browser: sign in, start the default profile, open JupyterLab, run a cell."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_session import HubError
from playwright.sync_api import Page, expect, sync_playwright

from .conftest import LAB, START_TIMEOUT, Lab

CHROMIUM = "/usr/bin/chromium"
# The tests run as root, and the browser has nobody to talk to but the lab.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREENSHOT = LAB / "screenshots" / "main_job.png"
PAGE_TIMEOUT = 60_000  # ms


@pytest.fixture
def page(lab: Lab) -> t.Iterator[Page]:
    """A window of Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PAGE_TIMEOUT)
        yield page
        browser.close()


def test_a_person_signs_in_and_runs_a_cell(lab: Lab, page: Page) -> None:
    user = lab.access["admin_user"]
    session = lab.session(user)
    if session.server() is not None:
        session.stop()
    try:
        page.goto(f"{lab.access['url'].rstrip('/')}/")
        page.fill("#username_input", user)
        page.fill("#password_input", lab.access["admin_password"])
        page.click("#login_submit")
        page.click("#spawn_form button[type=submit]")
        page.wait_for_url(f"**/user/{user}/lab**", timeout=START_TIMEOUT * 1000)

        page.click('.jp-LauncherCard[data-category="Notebook"]')
        expect(page.locator("#jp-main-statusbar")).to_contain_text(
            "| Idle", timeout=PAGE_TIMEOUT
        )  # the kernel is there
        cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
        cell.click()
        page.keyboard.type("6*7")
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".jp-Notebook .jp-OutputArea-output").first).to_have_text("42", timeout=PAGE_TIMEOUT)
    finally:
        SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOT)
        if session.server() is not None:
            forget_notebook(session.server_path, session)
            session.stop()


def forget_notebook(server_path: str, session: t.Any) -> None:
    """Remove the notebook that the test has made, unless it did not get that far."""
    try:
        session.request("DELETE", f"{server_path}api/contents/Untitled.ipynb")
    except HubError as error:
        if "404" not in str(error):
            raise
