"""The front's haproxy for real, before a small server in the proxy's place: what it says, and what a reload does."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from certificates import Signed, sign
from rendering import render
from websockets.asyncio.client import connect
from websockets.sync.server import ServerConnection, serve

AUTHORITY = sign()


def site() -> Signed:
    return sign("localhost", authority=AUTHORITY)


def behind(connection: ServerConnection, request: t.Any) -> t.Any:
    """Answer what is no websocket with the headers that came."""
    if "Upgrade" in request.headers:
        return None
    return connection.respond(200, json.dumps({name.lower(): value for name, value in request.headers.raw_items()}))


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


class Front(t.NamedTuple):
    """A front that runs: its process, its PEM file, its two ports, and the trust in its authority."""

    process: subprocess.Popen[bytes]
    pem: Path
    https: int
    http: int
    tls: ssl.SSLContext

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        return httpx.get(f"https://localhost:{self.https}{path}", headers=headers, verify=self.tls, timeout=5)

    def serial(self) -> int:
        """Return which certificate new connections see."""
        with (
            socket.create_connection(("localhost", self.https), timeout=5) as plain,
            self.tls.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return int(t.cast("dict[str, str]", secure.getpeercert())["serialNumber"], 16)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return t.cast(int, free.getsockname()[1])


def wait(what: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            if what():
                return
        except (OSError, httpx.HTTPError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    assert haproxy, "haproxy is not installed: apt-get install haproxy"
    home, first = tmp_path_factory.mktemp("front"), site()
    https, http, proxy = free_port(), free_port(), free_port()
    given = {
        "front_certificate": first.pem, "front_key": first.key_pem, "front_port": https,
        "front_proxies": ["127.0.0.1"], "front_proxy_port": proxy,
    }  # fmt: skip
    shown = {"files": "{{ front_files }}"}
    rendered = render(tmp_path_factory.mktemp("render"), {"all": {"hosts": {"one": given}}}, ["front"], shown)
    config, pem = rendered["one"]["files"]
    (home / "front.pem").write_text(pem["content"])
    text = config["content"].replace(pem["path"], str(home / "front.pem")).replace("bind :80\n", f"bind :{http}\n")
    (home / "haproxy.cfg").write_text(text)
    tls = ssl.create_default_context(cadata=AUTHORITY.pem)
    with serve(echo, "127.0.0.1", proxy, process_request=behind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        process = subprocess.Popen([haproxy, "-Ws", "-f", str(home / "haproxy.cfg")])
        running = Front(process, home / "front.pem", https, http, tls)
        try:
            wait(lambda: running.get().status_code == 200)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            server.shutdown()
            thread.join()


def test_what_is_behind_is_told_who_came_by_https_whatever_that_said(front: Front) -> None:
    lies = {"Forwarded": "proto=http", "X-Scheme": "http", "X-Real-IP": "10.9.9.9", "X-Forwarded-For": "10.9.9.9"}
    answer = front.get(**lies)
    told = answer.json()
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert (told["x-scheme"], told["x-forwarded-proto"]) == ("https", "https")
    assert (told["x-real-ip"], told["x-forwarded-for"]) == ("127.0.0.1", "127.0.0.1")
    assert "forwarded" not in told
    assert told["host"] == f"localhost:{front.https}"


def test_plain_http_is_sent_on_with_its_whole_address(front: Front) -> None:
    answer = httpx.post(f"http://localhost:{front.http}/hub/login?next=%2Fhub%2Fhome", timeout=5)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://localhost:{front.https}/hub/login?next=%2Fhub%2Fhome"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_tls_is_refused(front: Front) -> None:
    old = ssl.create_default_context(cadata=AUTHORITY.pem)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("localhost", front.https), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"),
    ):
        old.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.asyncio
async def test_a_renewed_certificate_drops_no_websocket(front: Front) -> None:
    # asyncio's client: until Python 3.13 two threads must not use one TLS socket, and the synchronous one does.
    renewed = site()
    async with connect(f"wss://localhost:{front.https}/", ssl=front.tls, open_timeout=5) as websocket:
        before = front.serial()
        front.pem.write_text(renewed.pem + renewed.key_pem)
        front.process.send_signal(signal.SIGUSR2)
        wait(lambda: front.serial() == renewed.certificate.serial_number)
        assert before != renewed.certificate.serial_number
        for number in range(20):
            await websocket.send(str(number))
            assert await asyncio.wait_for(websocket.recv(), 5) == str(number)
            await asyncio.sleep(0.05)
    assert front.get().status_code == 200
