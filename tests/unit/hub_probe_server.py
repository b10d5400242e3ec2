"""A small hub for the tests of hub_probe: real HTTP and a real websocket, in threads of the test's own process.

It behaves like JupyterHub where the probe looks, runs a kernel's code in a real Python, and has faults on request.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

USER = "swarmhub-probe"
PASSWORD = "a-password-of-the-test"
API_TOKEN = "an-api-token-of-the-test"
CARDS = {"cpu": "", "gpu": "GPU-11111111-2222-3333-4444-555555555555"}
FORM = '<form action="/hub/{0}"><input type="hidden" name="_xsrf" value="x">{1}</form>'
LOGIN = FORM.format("login?next=", '<input name="username"><input type="password" name="password">')
RADIO = '<input type="radio" name="profile" value="{0}">'
SPAWN = (
    f'<form id="spawn_form" action="/hub/spawn?_xsrf=x">{RADIO.format("cpu")}'
    f'<select name="other"><option value="1"></select>{RADIO.format("gpu")}</form>'
)


class Hub(ThreadingHTTPServer):
    """The hub's state; ``faults`` is what it gets wrong, ``stops`` counts the servers that it was told to stop.

    ``only`` is the one profile of a hub that has no more, and so no page to choose on.
    """

    daemon_threads = True

    def __init__(self, home: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.home = home
        self.faults: set[str] = set()
        self.only = ""
        self.server: dict[str, str] | None = None
        self.started: list[tuple[str, str]] = []
        self.stops = 0
        self.tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self, profile: str, node: str = "n1") -> None:
        if "loses files" in self.faults:
            for path in self.home.iterdir():
                path.unlink()
        token = f"the-token-of-server-{len(self.started)}"
        self.tokens.add(token)
        self.started.append((profile, node))
        self.server = {"profile": profile, "node": "n1" if "ignores the node" in self.faults else node, "token": token}

    def stop(self) -> None:
        assert self.server
        if "keeps tokens" not in self.faults:
            self.tokens.discard(self.server["token"])
        self.stops += 1
        self.server = None

    def environment(self) -> dict[str, str]:
        assert self.server
        given = {
            "HOME": str(self.home),
            "JUPYTERHUB_API_TOKEN": self.server["token"],
            "JPY_API_TOKEN": self.server["token"],
            "SWARMHUB_NODE": self.server["node"],
            "DOCKER_RESOURCE_GPU": CARDS[self.server["profile"]],
        }
        if "shows a card" in self.faults:
            given["DOCKER_RESOURCE_GPU"] = CARDS["gpu"]
        if "leaks a secret" in self.faults:
            given["CONFIGPROXY_AUTH_TOKEN"] = "proxy"
        if "leaks the API token" in self.faults:
            given["HARMLESS"] = f"token={API_TOKEN}"
        return given


class Handler(BaseHTTPRequestHandler):
    """JupyterHub's paths, as far as the probe walks them."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: t.Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        if path == "/hub/login":
            self.answer(LOGIN, 500 if "has no door" in hub.faults else 200)
        elif path == "/hub/api/user":
            token = self.headers.get("Authorization", "").removeprefix("token ")
            known = token in hub.tokens or "signed=in" in self.headers.get("Cookie", "")
            self.answer({"name": USER} if known else {"message": "Forbidden"}, 200 if known else 403)
        elif not self.allowed():
            self.answer({"message": "who are you?"}, 403)
        elif path == "/hub/spawn" and hub.only:
            hub.start(hub.only)
            self.answer("", 302, {"Location": "/hub/spawn-pending"})
        elif path == "/hub/spawn":
            self.answer(SPAWN)
        elif path == f"/hub/api/users/{USER}" and "has no account" in hub.faults:
            self.answer({"message": "Not Found"}, 404)
        elif path == f"/hub/api/users/{USER}":
            options = {"profile": hub.server["profile"]} if hub.server else {}
            model = {"ready": True, "pending": None, "user_options": options}
            self.answer({"name": USER, "servers": {"": model} if hub.server else {}})
        elif path.endswith("/server/progress"):
            self.progress()
        elif path.endswith("/channels"):
            self.kernel()
        else:
            self.answer("a page")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path = urlsplit(self.path).path
        if path == "/hub/login":
            if parse_qs(body) == {"_xsrf": ["x"], "username": [USER], "password": [PASSWORD]}:
                self.answer("", 302, {"Location": "/hub/spawn", "Set-Cookie": "signed=in; Path=/"})
            else:
                self.answer(LOGIN + '<p class="login_error">Invalid username<br> or password.</p><p>Sign up</p>')
        elif not self.allowed():
            self.answer({"message": "who are you?"}, 403)
        elif path == f"/hub/api/users/{USER}":
            self.server.faults.discard("has no account")
            self.answer({"name": USER}, 201)
        elif path == "/hub/spawn":
            self.server.start(parse_qs(body)["profile"][0])
            self.answer("", 302, {"Location": "/hub/spawn-pending"})
        elif path.endswith("/server"):
            self.server.start(**json.loads(body))
            if "fails at once" in self.server.faults:
                self.answer({"message": "error"}, 500)
            else:
                self.answer("", 202)
        else:
            self.answer({"id": "kernel"}, 201)

    def do_DELETE(self) -> None:
        self.server.stop()
        self.answer("", 204)

    def allowed(self) -> bool:
        return self.headers.get("Authorization") == f"token {API_TOKEN}" or "signed=in" in self.headers.get(
            "Cookie", ""
        )

    def answer(self, body: t.Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(text)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def progress(self) -> None:
        events: list[dict[str, t.Any]] = [
            {"progress": 10, "message": "no suitable node (insufficient resources on 2 nodes)"}
        ]
        if "fails at once" in self.server.faults:
            events = []
        if self.server.faults & {"fails", "fails at once"}:
            events.append({"progress": 100, "failed": True, "message": f"Spawn failed: no card is free ({PASSWORD})"})
            self.server.server = None
        elif "never ready" in self.server.faults:
            events += [{"progress": 20}] * 20
        else:
            events.append({"progress": 100, "ready": True, "message": "Server ready"})
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def kernel(self) -> None:
        """Speak the websocket's two sides: messages in, what a real Python prints out."""
        protocol = ServerProtocol()
        head = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
        protocol.receive_data("\r\n".join(head).encode())
        for event in protocol.events_received():
            assert isinstance(event, Request)
            protocol.send_response(protocol.accept(event))
        self.close_connection = True
        while True:
            for data in protocol.data_to_send():
                self.connection.sendall(data)
            if protocol.close_expected() or not (received := self.connection.recv(65536)):
                return
            protocol.receive_data(received)
            for event in protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    for message in self.execute(json.loads(bytes(event.data))):
                        protocol.send_text(json.dumps(message).encode())

    def execute(self, request: dict[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
        environment = self.server.environment()
        done = subprocess.run(
            [sys.executable, "-c", request["content"]["code"]],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
        kinds: list[tuple[str, dict[str, t.Any]]] = [
            ("status", {"execution_state": "busy"}),
            ("stream", {"name": "stderr", "text": "noise"}),
            ("stream", {"name": "stdout", "text": done.stdout}),
        ]
        if done.returncode:
            last = re.split(r": ", done.stderr.strip().splitlines()[-1], maxsplit=1)
            kinds.append(("error", {"ename": last[0], "evalue": last[-1], "traceback": []}))
        kinds.append(("status", {"execution_state": "idle"}))
        # A message that answers somebody else, as a kernel with two clients sends it.
        yield {
            "header": {"msg_type": "status"},
            "parent_header": {"msg_id": "other"},
            "content": {"execution_state": "idle"},
        }
        for kind, content in kinds:
            yield {"header": {"msg_type": kind}, "parent_header": request["header"], "content": content}
