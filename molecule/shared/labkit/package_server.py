"""A small HTTP server for apt: what hosts fetch from Debian's mirrors is kept, what lies in a folder is served.

    python3 -m labkit.package_server ADDRESS PORT CACHE NAME=URL… NAME=/folder…

A package, or an index named by its hash, never changes under its name: it is fetched once and kept. All else is passed
on each time. Hosts check signatures and hashes as ever, so nothing has to be believed of the cache.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.parse import unquote

TIMEOUT = 60  # seconds for a connection to a mirror


def lasting(path: str) -> bool:
    """Whether what this path names can never change."""
    return path.endswith((".deb", ".udeb")) or "/by-hash/" in path


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for /NAME/path."""

    protocol_version = "HTTP/1.1"
    cache: Path
    upstreams: dict[str, str]
    locks: ClassVar[defaultdict[Path, threading.Lock]] = defaultdict(threading.Lock)

    def do_GET(self) -> None:
        """Answer from a folder, from what is kept, or from the mirror."""
        name, _, path = unquote(self.path).lstrip("/").partition("/")
        source = self.upstreams.get(name)
        if source is None or ".." in path.split("/"):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif source.startswith("/"):
            self._send_file(Path(source, path))
        elif lasting(path):
            self._send_kept(f"{source}/{path}", self.cache / name / path)
        else:
            self._pass_on(f"{source}/{path}")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _send_file(self, path: Path) -> None:
        try:
            with path.open("rb") as stream:
                self._send_stream(stream, os.fstat(stream.fileno()).st_size)
        except (FileNotFoundError, IsADirectoryError):
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send_stream(self, stream: BinaryIO, size: int, modified: str | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(size))
        if modified:
            self.send_header("Last-Modified", modified)
        self.end_headers()
        if self.command == "GET":
            shutil.copyfileobj(stream, self.wfile)

    def _send_kept(self, url: str, kept: Path) -> None:
        try:
            with self.locks[kept]:  # four hosts that ask for the same package at once fetch it once
                if not kept.exists():
                    self._fetch(url, kept)
        except OSError as error:  # URLError is one, too
            self._send_failure(error)
        else:
            self._send_file(kept)

    def _fetch(self, url: str, kept: Path) -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
            tempfile.NamedTemporaryFile(dir=kept.parent, prefix=".part-", delete=False) as part,
        ):
            shutil.copyfileobj(answer, part)
            part.flush()
            if part.tell() != int(answer.headers["Content-Length"]):
                Path(part.name).unlink()
                raise OSError(f"{url} broke off")
            Path(part.name).replace(kept)

    def _pass_on(self, url: str) -> None:
        wanted = {"If-Modified-Since": value} if (value := self.headers.get("If-Modified-Since")) else {}
        with tempfile.TemporaryFile() as body:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, headers=wanted), timeout=TIMEOUT) as answer:
                    shutil.copyfileobj(answer, body)
                    modified = answer.headers["Last-Modified"]
            except OSError as error:  # URLError is one, too
                self._send_failure(error)
                return
            size = body.tell()
            body.seek(0)
            self._send_stream(body, size, modified)

    def _send_failure(self, error: OSError) -> None:
        if isinstance(error, urllib.error.HTTPError) and error.code == HTTPStatus.NOT_MODIFIED:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
        elif isinstance(error, urllib.error.HTTPError):
            self.send_error(error.code)
        else:
            self.send_error(HTTPStatus.BAD_GATEWAY, str(error).splitlines()[0])


def main() -> None:
    """Serve until the process is ended."""
    address, port, cache, *names = sys.argv[1:]
    Handler.cache = Path(cache)
    Handler.upstreams = dict(name.split("=", 1) for name in names)
    ThreadingHTTPServer((address, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
