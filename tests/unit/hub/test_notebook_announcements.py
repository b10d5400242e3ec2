"""What the hub tells a person on the notebook's page, from a real hub through a real Jupyter server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
import typing as t
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from running_hub import SECRETS, Browser, RunningHub, free_port, run_hub, run_process
from swarmhub_hub.notebook_files import LABEXTENSION, SOURCES, TARGETS
from swarmhub_hub.settings import PROBE_USER

sys.path.append(str(SOURCES))

import swarmhub_announcements
from swarmhub_announcements import Told

LOG = logging.getLogger(__name__)
SERVER_TOKEN = "server-secret"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with run_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def token(hub: RunningHub) -> str:
    """What a notebook of the probe gets from JupyterHub; the probe and the administrator are told something."""
    for name in (PROBE_USER, "admin"):
        said = {"text": f"For <{name}>", "users": [name, "carol"], "until": "2999-01-31T18:00:00+00:00"}
        assert hub.api("PUT", f"/announcements/{name}", said)[0] == 200
    return token_of_the_probe(hub, roles=["server"])


def token_of_the_probe(hub: RunningHub, **what: list[str]) -> str:
    browser = Browser()
    assert hub.signs_in(PROBE_USER, SECRETS["probe_password"], browser)
    url = f"{hub.url}/api/users/{PROBE_USER}/tokens?_xsrf={browser.cookie('_xsrf')}"
    headers = {"Content-Type": "application/json"}
    with browser.open(urllib.request.Request(url, json.dumps(what).encode(), headers), timeout=10) as answer:
        return t.cast(str, json.load(answer)["token"])


TOLD = [{"name": PROBE_USER, "text": f"For <{PROBE_USER}>", "until": "2999-01-31T18:00:00+00:00", "maintenance": False}]


def test_the_token_of_a_notebook_reads_what_its_user_is_told_and_changes_nothing(hub: RunningHub, token: str) -> None:
    assert hub.api("GET", "/user/announcements", token=token) == (200, TOLD)
    assert hub.api("GET", "/announcements", token=token)[0] == 403
    assert hub.api("PUT", "/announcements/admin", {"text": "x"}, token=token)[0] == 403
    assert hub.api("DELETE", "/announcements/admin", token=token)[0] == 403
    assert hub.api("GET", "/user/announcements", token="nobody's")[0] == 403
    # One like that of a visitor, which a notebook is given as well.
    visitor = token_of_the_probe(hub, scopes=["read:users!user"])
    assert hub.api("GET", "/user/announcements", token=visitor)[0] == 403


def test_a_notebooks_own_server_tells_its_user_and_nobody_else(hub: RunningHub, token: str, tmp_path: Path) -> None:
    for what, target in TARGETS.items():
        (tmp_path / target[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / what, tmp_path / target[1:])
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "JUPYTER_CONFIG_PATH": str(tmp_path / "etc" / "jupyter"),
        "JUPYTER_TOKEN": SERVER_TOKEN,
        "JUPYTERHUB_API_URL": f"{hub.url}/api",
        "JUPYTERHUB_API_TOKEN": token,
        "PYTHONPATH": str(SOURCES),
    }
    port = free_port()
    options = [f"--ServerApp.{each}" for each in (f"port={port}", "base_url=/user/probe/", "allow_root=True")]
    url = f"http://127.0.0.1:{port}/user/probe"
    with run_process([sys.executable, "-m", "jupyter_server", *options], tmp_path, f"{url}/api", environ):
        request = urllib.request.Request(f"{url}/swarmhub/announcements")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)
        request.add_header("Authorization", f"token {SERVER_TOKEN}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            told = answer.read().decode()
            assert answer.headers["Cache-Control"] == "no-cache"
    assert json.loads(told) == TOLD
    assert token not in told + (tmp_path / "log").read_text()


def test_what_has_not_changed_is_not_told_again(
    hub: RunningHub, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(swarmhub_announcements, "INTERVAL", 0)

    async def look() -> None:
        told = Told(f"{hub.url}/api", token, LOG)
        first = await told.get()
        assert first == TOLD
        assert await told.get() is first
        hub.api("PUT", "/announcements/zzz", {"text": "x"})
        assert len(await told.get()) == 2
        hub.api("DELETE", "/announcements/zzz")
        assert await told.get() == TOLD

    asyncio.run(look())
    assert caplog.text == ""


class Hub(BaseHTTPRequestHandler):
    """A hub that counts who asks, and announces the number."""

    asked = 0

    def do_GET(self) -> None:
        Hub.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([Hub.asked]).encode())

    def log_message(self, *args: t.Any) -> None:
        pass


def test_the_hub_is_asked_once_in_a_while_and_its_last_words_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=hub.serve_forever, daemon=True).start()

    async def look() -> None:
        told = Told(f"http://127.0.0.1:{hub.server_address[1]}", "x", LOG)
        assert await asyncio.gather(*(told.get() for _ in range(20))) == [[1]] * 20
        assert await told.get() == [1]
        monkeypatch.setattr(swarmhub_announcements, "INTERVAL", 0)
        assert await told.get() == [2]
        hub.shutdown()
        hub.server_close()
        assert await told.get() == [2]

    asyncio.run(look())


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarmhub_announcements, "PATIENCE", 0.3)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:  # nobody serves
        told = Told(f"http://127.0.0.1:{hub.server_address[1]}", "x", LOG)
        assert asyncio.run(asyncio.wait_for(told.get(), 10)) == []


def test_jupyterlab_finds_the_extension_under_the_name_that_it_registers() -> None:
    package = json.loads((SOURCES / "labextension.json").read_text())
    place = Path(LABEXTENSION)
    assert (place.parent.name, place.name) == ("labextensions", package["name"])
    assert TARGETS["labextension.json"] == str(place / "package.json")
    assert TARGETS["labextension.js"] == str(place / package["jupyterlab"]["_build"]["load"])
    assert f'const NAME = "{package["name"]}";' in (SOURCES / "labextension.js").read_text()
