"""A person with a real browser: sign in, start the default profile, run a cell in JupyterLab, read an announcement."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.module_utils.swarmhub.probe_session import HubError, NotFound
from playwright.sync_api import Page, expect

from .conftest import PAGE_TIMEOUT, START_TIMEOUT, Lab, screenshot, sign_in

ANNOUNCED = "hub/api/announcements/e2e-browser"


def test_a_person_signs_in_and_runs_a_cell_and_reads_what_is_announced(lab: Lab, page: Page) -> None:
    user = lab.access["admin_user"]
    session = lab.session(user)
    if session.server() is not None:
        session.stop()
    try:
        sign_in(lab, page)
        page.click("#spawn_form button[type=submit]")
        page.wait_for_url(f"**/user/{user}/lab**", timeout=START_TIMEOUT * 1000)

        page.wait_for_selector("#swarmhub-announcements", state="attached")
        session.request("PUT", ANNOUNCED, json={"text": "The storage <moves> at noon", "users": [user]})

        page.click('.jp-LauncherCard[data-category="Notebook"]')
        expect(page.locator("#jp-main-statusbar")).to_contain_text(
            "| Idle", timeout=PAGE_TIMEOUT
        )  # the kernel is there
        cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
        cell.click()
        page.keyboard.type("6*7")
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".jp-Notebook .jp-OutputArea-output").first).to_have_text("42", timeout=PAGE_TIMEOUT)

        told = page.locator("#swarmhub-announcements", has_text="The storage <moves> at noon")
        expect(told).to_be_visible(timeout=75_000)  # the page asks once a minute
        page.screenshot(path=screenshot("announcement_in_lab"))
        told.get_by_role("button", name="Dismiss: The storage").click()
        expect(told).not_to_be_attached()
    finally:
        page.screenshot(path=screenshot("main_job"))
        with contextlib.suppress(NotFound):
            session.request("DELETE", ANNOUNCED)
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
