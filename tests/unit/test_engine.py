"""The seam to a real engine: each way in which there is none ends in one clear sentence."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import threading
import typing as t
from pathlib import Path

import docker  # noqa: F401 - nobody may read it later
import pytest
from ansible.module_utils.swarmhub.engine import DockerEngine, EngineError

NOBODY = 65534


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An HTTP server at a Unix socket; ``answers`` are (status, body) by path."""

    daemon_threads = True
    version: t.ClassVar[str]
    answers: t.ClassVar[dict[str, tuple[int, t.Any]]]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = Server.answers["/" + self.path.rpartition("/")[2]]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("API-Version", Server.version)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def docker_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[str]:
    monkeypatch.setattr(Server, "answers", {"/_ping": (200, "OK")}, raising=False)
    monkeypatch.setattr(Server, "version", "1.45", raising=False)
    path = tmp_path / "docker.sock"
    with Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown()


def test_an_engine_that_is_down_is_named_with_its_socket(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as refused:
        DockerEngine(f"unix://{tmp_path}/docker.sock")
    assert str(refused.value) == (
        f"no Docker engine answers at unix://{tmp_path}/docker.sock: [Errno 2] No such file or directory; "
        "is docker.service running?"
    )


@pytest.fixture
def nobody(docker_host: str) -> t.Iterator[None]:
    """The tests go on as a user who may not use the socket."""
    Path(docker_host.removeprefix("unix://")).chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("nobody")
def test_a_socket_without_permission_is_told_from_an_engine_that_is_down(docker_host: str) -> None:
    with pytest.raises(EngineError, match=r"Permission denied; run as root \(become: true\)"):
        DockerEngine(docker_host)


@pytest.mark.parametrize("version", ["1.24", "1.40", "0"])
def test_an_api_that_is_too_old_is_refused_before_anything_is_asked(docker_host: str, version: str) -> None:
    Server.version = version
    with pytest.raises(EngineError, match=rf"speaks API {version}, 1\.41 \(Docker 20\.10\) is needed"):
        DockerEngine(docker_host)


def test_the_engine_s_refusal_keeps_its_status_and_its_words(docker_host: str) -> None:
    Server.answers["/nodes"] = (503, {"message": "This node is not a swarm manager."})
    with pytest.raises(EngineError, match=r"GET /nodes: This node is not a swarm manager\.") as refused:
        DockerEngine(docker_host).request("GET", "/nodes")
    assert refused.value.status == 503
