"""The whole hub in a process of its own (see `running_hub`)."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator

import pytest
from running_hub import SECRETS, Browser, RunningHub, run_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with run_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_the_first_administrator_can_sign_in(hub: RunningHub) -> None:
    assert hub.api("GET", "/users/admin")[1]["admin"] is True
    assert hub.signs_in("admin", SECRETS["admin_password"])
    assert not hub.signs_in("admin", "wrong")


def test_the_probe_is_no_administrator(hub: RunningHub) -> None:
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"])
    assert hub.api("GET", "/users/swarmhub-probe")[1]["admin"] is False


def test_who_signs_up_waits_for_approval(hub: RunningHub) -> None:
    password = "long-enough"
    fields = {"signup_password": password, "signup_password_confirmation": password}
    page = hub.send("signup", Browser(), username="mallory", **fields)
    assert "Your information has been sent to the admin" in page
    assert not hub.signs_in("mallory", password)


def test_an_administrator_lets_somebody_in_by_the_form_and_no_link_does(hub: RunningHub) -> None:
    password = "long-enough"
    fields = {"signup_password": password, "signup_password_confirmation": password}
    hub.send("signup", Browser(), username="newcomer", **fields)
    admin, probe = Browser(), Browser()
    assert hub.signs_in("admin", SECRETS["admin_password"], admin)
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"], probe)
    for link in ("authorize", "discard"):
        with pytest.raises(urllib.error.HTTPError, match="405"):
            admin.open(f"{hub.url}/{link}/newcomer", timeout=10)
        assert "403" in hub.send(f"{link}/newcomer", probe)
    assert not hub.signs_in("newcomer", password)
    page = hub.send("authorize/newcomer", admin)
    assert 'action="/hub/discard/newcomer"' not in page
    assert hub.signs_in("newcomer", password)
    assert "newcomer" in hub.send("authorize/newcomer", admin), "locked out again"
    assert not hub.signs_in("newcomer", password)
    assert 'id="newcomer"' not in hub.send("discard/newcomer", admin)


def test_who_signed_up_and_never_came_can_be_forgotten_by_an_administrators_token(hub: RunningHub) -> None:
    password = "long-enough"
    fields = {"signup_password": password, "signup_password_confirmation": password}
    hub.send("signup", Browser(), username="no-show", **fields)
    assert hub.api("GET", "/users/no-show")[0] == 404
    assert hub.api("GET", "/signups/no-show")[1] == {"name": "no-show", "authorized": False}
    admin = Browser()
    assert hub.signs_in("admin", SECRETS["admin_password"], admin)
    hub.send("authorize/no-show", admin)
    assert hub.api("GET", "/signups/no-show")[1]["authorized"] is True
    assert hub.api("DELETE", "/signups/no-show", token=SECRETS["metrics_token"])[0] == 403
    assert hub.api("DELETE", "/signups/no-show")[0] == 204
    assert not hub.signs_in("no-show", password)
    assert [hub.api(method, "/signups/no-show")[0] for method in ("GET", "DELETE")] == [404, 404]
    status, answer = hub.api("DELETE", "/signups/admin")
    assert (status, answer["message"]) == (409, "admin has signed in, and is removed as a user.")
    assert hub.signs_in("admin", SECRETS["admin_password"])


def test_the_way_to_accounts_and_passwords_is_on_every_page(hub: RunningHub) -> None:
    for name, password, sees_accounts in (
        ("admin", "admin_password", True),
        ("swarmhub-probe", "probe_password", False),
    ):
        browser = Browser()
        assert hub.signs_in(name, SECRETS[password], browser)
        page = browser.open(f"{hub.url}/home", timeout=10).read().decode()
        assert 'href="/hub/change-password"' in page
        assert ('href="/hub/authorize"' in page) is sees_accounts


def test_a_profile_that_cannot_be_had_is_said_by_the_api(hub: RunningHub) -> None:
    status, answer = hub.api("POST", "/users/swarmhub-probe/server", {"profile": "nope"})
    assert (status, answer["message"]) == (400, "There is no profile 'nope'; you may start: cpu.")
    status, answer = hub.api("POST", "/users/swarmhub-probe/server", {"profile": "gpu"})
    assert (status, answer["message"]) == (403, "The profile 'gpu' is not open to you; you may start: cpu.")


def test_an_administrators_page_shows_the_profiles_and_a_user_cannot_choose_the_node(hub: RunningHub) -> None:
    browser = Browser()
    assert hub.signs_in("admin", SECRETS["admin_password"], browser)
    assert 'value="gpu"' in browser.open(f"{hub.url}/spawn", timeout=10).read().decode()
    assert "is no profile &#39;nope&#39;" in hub.send("spawn", browser, profile="nope")
    browser = Browser()
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"], browser)
    assert "Only an administrator may choose the node." in hub.send("spawn", browser, node="cpu1")


def test_what_is_free_is_for_those_who_have_signed_in(hub: RunningHub) -> None:
    browser = Browser()
    with browser.open(f"{hub.url}/availability", timeout=20) as answer:
        assert "/hub/login" in answer.url
    assert hub.signs_in("admin", SECRETS["admin_password"], browser)
    with browser.open(f"{hub.url}/availability", timeout=20) as answer:
        assert json.loads(answer.read()) == {}, "there is no engine to ask"
    with pytest.raises(urllib.error.HTTPError) as failed, browser.open(f"{hub.url}/cluster", timeout=20):
        pass
    assert failed.value.code == 503
    assert "The swarm gives no answer now" in failed.value.read().decode()


def test_the_hours_of_cards_are_a_page_and_a_file(hub: RunningHub) -> None:
    browser = Browser()
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"], browser)
    page = browser.open(f"{hub.url}/usage", timeout=10).read().decode()
    assert "<td>swarmhub-probe</td>" in page
    assert "<td>gpu-users</td>" not in page, "one's own groups only"
    with browser.open(f"{hub.url}/usage?format=csv", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.read().decode().splitlines()[1] == "user,swarmhub-probe,0.00,"
    browser = Browser()
    assert hub.signs_in("admin", SECRETS["admin_password"], browser)
    assert "<td>gpu-users</td>" in browser.open(f"{hub.url}/usage", timeout=10).read().decode()


def test_a_start_without_an_engine_fails_with_words(hub: RunningHub) -> None:
    status, answer = hub.api("POST", "/users/swarmhub-probe/server", {})
    assert status == 503
    assert "The swarm refused the notebook" in answer["message"]


def test_b_a_proxy_that_forgot_its_routes_has_them_back_at_once(hub: RunningHub) -> None:
    assert "/" in hub.proxy.routes
    hub.proxy.routes.clear()
    deadline = time.monotonic() + 5
    while "/" not in hub.proxy.routes:
        assert time.monotonic() < deadline, hub.log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("path", ["login", "api/", "no-such-page"])
def test_every_answer_has_the_security_headers(hub: RunningHub, path: str) -> None:
    try:
        headers = Browser().open(f"{hub.url}/{path}", timeout=10).headers
    except urllib.error.HTTPError as error:
        headers = error.headers
    assert headers["Content-Security-Policy"].startswith("frame-ancestors 'none'")
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "same-origin")
    assert headers["X-JupyterHub-Version"]


def test_no_secret_is_in_the_log(hub: RunningHub) -> None:
    log = hub.log.read_text()
    assert "JupyterHub is now running" in log
    assert [name for name, secret in SECRETS.items() if secret in log] == []


def test_what_is_announced_is_on_the_pages_of_those_it_is_for(hub: RunningHub) -> None:
    browser = Browser()
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"], browser)
    some = {"text": "Save <your> work", "users": ["swarmhub-probe"], "until": "2999-01-31T18:00:00+00:00"}
    status, told = hub.api("PUT", "/announcements/some", some)
    assert (status, told) == (200, {"name": "some", "maintenance": False, **some})
    try:
        page = browser.open(f"{hub.url}/home", timeout=10).read().decode()
        assert "Save &lt;your&gt; work" in page
        assert "2999-01-31 18:00 UTC" in page
        sign_in_page = Browser().open(f"{hub.url}/login", timeout=10).read().decode()
        assert "Save &lt;your&gt; work" not in sign_in_page
        assert hub.api("PUT", "/announcements/all", {"text": "The hub rests", "maintenance": True})[0] == 200
        assert "The hub rests" in Browser().open(f"{hub.url}/login", timeout=10).read().decode()
        assert [each["name"] for each in hub.api("GET", "/announcements")[1]] == ["all", "some"]
        assert hub.api("GET", "/announcements/some")[1] == told
    finally:
        assert hub.api("DELETE", "/announcements/some")[0] == 204
        hub.api("DELETE", "/announcements/all")
    assert hub.api("DELETE", "/announcements/some")[0] == 404
    assert "Save" not in browser.open(f"{hub.url}/home", timeout=10).read().decode()


def test_announcing_is_for_those_who_may_stop_everybodys_servers(hub: RunningHub) -> None:
    browser = Browser()
    assert hub.signs_in("swarmhub-probe", SECRETS["probe_password"], browser)
    xsrf = browser.cookie("_xsrf")
    browser.open(f"{hub.url}/api/user?_xsrf={xsrf}", timeout=10).close()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        browser.open(f"{hub.url}/api/announcements?_xsrf={xsrf}", timeout=10)
    assert hub.api("GET", "/announcements", token="")[0] == 403
    assert hub.api("PUT", "/announcements/a", {"text": ""})[1]["message"].startswith("text: write 1 to")
    assert hub.api("PUT", "/announcements", {"text": "x"})[0] == 405


def metrics(hub: RunningHub, path: str = "", token: str = SECRETS["metrics_token"]) -> str:
    """Return what Prometheus would get, or the status where it gets nothing."""
    request = urllib.request.Request(f"{hub.url}/metrics{path}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.code)


def test_metrics_are_for_who_has_the_token_and_the_token_opens_nothing_else(hub: RunningHub) -> None:
    found = metrics(hub)
    assert "\njupyterhub_total_users " in found
    assert "\nswarmhub_swarm_answers 0.0\n" in found
    assert metrics(hub, "/proxy") == "requests_api 7\n"
    assert metrics(hub, "/targets") == "503", "there is no engine to ask"
    assert {metrics(hub, path, "wrong") for path in ("", "/proxy", "/targets")} == {"403"}
    assert hub.api("GET", "/users", token=SECRETS["metrics_token"])[0] == 403
