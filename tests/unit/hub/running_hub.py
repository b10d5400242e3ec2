"""The whole hub in a process of its own: real JupyterHub, a stand-in proxy; no swarm behind it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from conftest import ROOT, empty_database, hub_json

SECRETS = {
    "proxy_token": "proxy-secret-1",
    "cookie_secret": "ab" * 32,
    "crypt_key": "cd" * 32,
    "admin_password": "admin-secret-2",
    "probe_password": "probe-secret-3",
    "api_token": "api-secret-4-long-enough",
    "metrics_token": "metrics-secret-5-long-enough",
}


class Proxy(ThreadingHTTPServer):
    """The proxy's API as far as JupyterHub uses it."""

    def __init__(self, port: int = 0) -> None:
        self.routes: dict[str, dict[str, t.Any]] = {}
        super().__init__(("127.0.0.1", port), Api)
        Thread(target=self.serve_forever, daemon=True).start()


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, b"requests_api 7\n", allowed=True)
            return
        self._answer(200, json.dumps(t.cast(Proxy, self.server).routes).encode())

    def do_POST(self) -> None:
        path = "/" + self.path.removeprefix("/api/routes").strip("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        t.cast(Proxy, self.server).routes[path] = json.loads(body)
        self._answer(201, b"")

    def _answer(self, status: int, body: bytes, allowed: bool = False) -> None:
        allowed = allowed or self.headers["Authorization"] == f"token {SECRETS['proxy_token']}"
        self.send_response(status if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: t.Any) -> None:
        pass


class Browser:
    """Keeps cookies."""

    def __init__(self) -> None:
        self._jar = CookieJar()
        self.open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar)).open

    def cookie(self, name: str) -> str:
        return next(cookie.value or "" for cookie in self._jar if cookie.name == name)


class RunningHub:
    def __init__(self, port: int, proxy: Proxy, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/hub"
        self.proxy = proxy
        self.log = log

    def api(self, method: str, path: str, body: t.Any = None, token: str = SECRETS["api_token"]) -> tuple[int, t.Any]:
        """Return status and decoded answer of the hub's API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data=data, method=method)
        request.add_header("Authorization", f"token {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def send(self, page: str, browser: Browser, **fields: str) -> str:
        """Fill in the form of the page as a browser would; return the address and text of the page that follows."""
        browser.open(f"{self.url}/{'home' if page == 'spawn' or '/' in page else page}", timeout=10).close()
        data = urllib.parse.urlencode({**fields, "_xsrf": browser.cookie("_xsrf")}).encode()
        try:
            with browser.open(f"{self.url}/{page}", data, timeout=20) as answer:
                return f"{answer.url}\n{answer.read().decode()}"
        except urllib.error.HTTPError as error:
            return f"{error.url}\n{error.read().decode()}"

    def signs_in(self, name: str, password: str, browser: Browser | None = None) -> bool:
        """Tell whether somebody gets past the page."""
        page = self.send("login", browser or Browser(), username=name, password=password)
        return "/hub/login" not in page.splitlines()[0]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return t.cast(int, free.getsockname()[1])


@contextlib.contextmanager
def run_hub(
    home: Path,
    *,
    settings: t.Mapping[str, t.Any] | None = None,
    secrets: t.Mapping[str, str] = SECRETS,
    environment: t.Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[RunningHub]:
    """Run a hub in the empty directory ``home``, with further ``settings``, until the block ends."""
    port = port or free_port()
    (home / "homes").mkdir()
    (home / "secrets").mkdir()
    for name, secret in secrets.items():
        (home / "secrets" / name).write_text(secret + "\n")
    proxy = Proxy()
    api_url = f"http://127.0.0.1:{proxy.server_address[1]}"
    said = {**hub_json(home / "homes"), "db_url": empty_database(home), "proxy_api_url": api_url}
    said["proxy_metrics_url"] = f"{api_url}/metrics"
    (home / "hub.json").write_text(json.dumps({**said, **(settings or {})}))
    (home / "config.py").write_text(
        "import dataclasses, pathlib\n"
        "from swarmhub_hub import config, settings\n"
        f"said = dataclasses.replace(settings.load_settings(), hub_port={port})\n"
        f"config.configure(get_config(), said, pathlib.Path({str(home / 'secrets')!r}))\n"
        f"c.JupyterHub.hub_bind_url = 'http://127.0.0.1:{port}'\n"
    )
    environ = {
        **os.environ,
        **(environment or {}),
        "PYTHONPATH": str(ROOT / "images" / "hub"),
        "SWARMHUB_CONFIG": str(home / "hub.json"),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "swarmhub_hub", "-f", str(home / "config.py")]
    running = RunningHub(port, proxy, home / "log")
    with run_process(command, home, f"{running.url}/health", environ):
        yield running
    proxy.shutdown()


@contextlib.contextmanager
def run_process(command: list[str], home: Path, url: str, environ: t.Mapping[str, str]) -> Iterator[None]:
    """Run a server, which writes ``home``/log, from when ``url`` answers until the block ends."""
    log = home / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=home, env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
