"""An extension of every notebook's Jupyter server: what the hub tells its user, for the page (see labextension.js).

It asks the hub with the notebook's own token, which no browser gets to see. The standard library and what a Jupyter
server brings are enough, since the image is anybody's; Python 3.8 will do.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import typing as t

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

#: Seconds for which an answer is good, however many pages ask; each of them asks once a minute.
INTERVAL = 50
#: Seconds after which the hub is given up for now.
PATIENCE = 10
UNCHANGED = 304


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: t.Any) -> None:
    told = Told(os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"], serverapp.log)
    place = url_path_join(serverapp.web_app.settings["base_url"], "swarmhub", "announcements")
    serverapp.web_app.add_handlers(".*$", [(place, AnnouncementsHandler, {"told": told})])


class Told:
    """What the hub told last, asked for anew when that has become old and somebody wants it."""

    def __init__(self, api_url: str, token: str, log: t.Any) -> None:
        """Keep where to ask, and as whom."""
        self._url = url_path_join(api_url, "user", "announcements")
        self._headers = {"Authorization": f"token {token}"}
        self._log = log
        self._asking: asyncio.Future[None] | None = None
        self._asked = 0.0
        self._answer: list[dict[str, t.Any]] = []

    async def get(self) -> list[dict[str, t.Any]]:
        """Return the announcements; while the hub is away, the last known."""
        if self._asking is None or (self._asking.done() and time.monotonic() - self._asked >= INTERVAL):
            self._asked = time.monotonic()
            self._asking = asyncio.ensure_future(self._ask())
        await asyncio.shield(self._asking)  # one page that is closed stops it for no other
        return self._answer

    async def _ask(self) -> None:
        try:
            answer = await AsyncHTTPClient().fetch(self._url, headers=self._headers, request_timeout=PATIENCE)
            self._answer = json.loads(answer.body)
            self._headers["If-None-Match"] = answer.headers.get("Etag", "")
        except (HTTPClientError, OSError, ValueError) as error:
            if getattr(error, "code", None) != UNCHANGED:
                self._log.warning("The hub does not say what it announces: %s", error)


class AnnouncementsHandler(APIHandler):
    """See the module."""

    def initialize(self, told: Told) -> None:
        """Keep what the extension gives."""
        self._told = told

    @web.authenticated
    async def get(self) -> None:
        """Return a list of ``{"name": …, "text": …, "until": …, "maintenance": …}``."""
        self.set_header("Cache-Control", "no-cache")
        self.finish(json.dumps(await self._told.get()))
