"""Who is to be forgotten, by a hub that keeps users and those who have not come yet apart."""

from __future__ import annotations

import ssl
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from ansible.module_utils.swarmhub.account import remove
from ansible.module_utils.swarmhub.probe_session import HubError, TokenSession


class Hub(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = {"/hub/api/users/alice", "/hub/api/signups/bob%40home"}
        self.refuses = False
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer(200 if self.path in self.server.known else 404)

    def do_DELETE(self) -> None:
        if not self.server.refuses:
            self.server.known.discard(self.path)
        self.answer(409 if self.server.refuses else 204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"" if status == 204 else b'{"message": "words"}')

    def log_message(self, *_: t.Any) -> None:
        pass


@pytest.fixture
def hub() -> t.Iterator[Hub]:
    with Hub() as hub:
        yield hub
        hub.shutdown()


def forget(hub: Hub, name: str, *, check_mode: bool = False) -> tuple[bool, bool]:
    """Return whether something changed, and whether there was an account."""
    url, tls = f"http://127.0.0.1:{hub.server_address[1]}", ssl.create_default_context()
    session = TokenSession(url, name, "token", start_timeout=1, request_timeout=5, tls=tls)
    done = remove(session, check_mode=check_mode)
    return done["changed"], done["exists"]


@pytest.mark.parametrize("name", ["alice", "bob@home"])
def test_an_account_goes_whether_somebody_has_come_with_it_or_not(hub: Hub, name: str) -> None:
    before = set(hub.known)
    assert forget(hub, name, check_mode=True) == (True, True)
    assert hub.known == before
    assert forget(hub, name) == (True, True)
    assert len(hub.known) == 1
    assert forget(hub, name) == (False, False)


def test_a_mistyped_name_changes_nothing(hub: Hub) -> None:
    before = set(hub.known)
    assert forget(hub, "bob") == (False, False)
    assert hub.known == before


def test_who_comes_at_that_moment_is_told_of(hub: Hub) -> None:
    hub.refuses = True
    with pytest.raises(HubError, match="409 words"):
        forget(hub, "bob@home")
