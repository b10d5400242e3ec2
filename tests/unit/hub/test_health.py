"""The health check: a hub that answers is well, and is not for long when nobody finds it."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from swarmhub_hub import health
from swarmhub_hub.settings import Settings


class Well(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(("name", "found"), [("localhost", True), ("hub.invalid", False)])
def test_a_hub_without_a_name_is_well_only_at_first(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, found: bool
) -> None:
    mark = tmp_path / "well"
    monkeypatch.setattr(health, "MARK", mark)
    with ThreadingHTTPServer(("127.0.0.1", 0), Well) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        said = dataclasses.replace(settings, hub_port=port, hub_connect_url=f"http://{name}:8081")
        monkeypatch.setattr(health, "load_settings", lambda: said)
        for _ in range(2):
            health.main()
        os.utime(mark, (0, time.time() - health.NAMING - 1))
        if found:
            health.main()
        else:
            with pytest.raises(socket.gaierror):
                health.main()
        server.shutdown()
