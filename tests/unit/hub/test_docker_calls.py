"""What the hub sends to its engine, a real client at an engine that only listens."""

from __future__ import annotations

import asyncio
import base64
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from swarmhub_hub import docker_calls

AUTHS = {"registry:5000": {"auth": base64.b64encode(b"nodes:s3cret").decode()}}


class Engine(BaseHTTPRequestHandler):
    headers_of_services: list[str]

    def do_GET(self) -> None:
        self._answer({"ApiVersion": "1.45"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Engine.headers_of_services.append(self.headers["X-Registry-Auth"])
        self._answer({"ID": "1"})

    def _answer(self, body: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_x_nodes_pull_with_the_credentials_of_the_images_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": AUTHS}))
    monkeypatch.setattr(docker_calls, "REGISTRY_CONFIG", config)
    Engine.headers_of_services = []
    server = HTTPServer(("127.0.0.1", 0), Engine)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    calls = docker_calls.DockerCalls()
    for image in ("registry:5000/notebook:1", "elsewhere/notebook:1"):
        asyncio.run(calls("create_service", {"ContainerSpec": {"Image": image}}))
    server.shutdown()
    ours, others = Engine.headers_of_services
    assert json.loads(base64.urlsafe_b64decode(ours))["password"] == "s3cret"
    assert others is None
