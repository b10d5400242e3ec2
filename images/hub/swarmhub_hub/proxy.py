"""JupyterHub's client of the proxy, with the patience that a busy hub needs."""

from __future__ import annotations

import asyncio
import time
import typing as t

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

#: Seconds for which a notebook that has just started waits for a proxy that is away, and between two tries.
ROUTE_PATIENCE, ROUTE_PAUSE = 120, 1


class PatientClient:
    """Lets a connection take as long as the request.

    Upstream gives it three seconds, the hub's own pauses included: a hub that shares its cores with notebooks had its
    requests run out one after the other.
    """

    def __init__(self) -> None:
        self._client = AsyncHTTPClient(force_instance=True)

    async def fetch(self, request: HTTPRequest) -> HTTPResponse:
        """Make one request, as AsyncHTTPClient.fetch does."""
        request.connect_timeout = request.request_timeout
        return await self._client.fetch(request)


class SwarmhubProxy(ConfigurableHTTPProxy):
    """See the module."""

    def __init__(self, **kwargs: t.Any) -> None:
        super().__init__(**kwargs)
        self._patient = PatientClient()

    async def api_request(self, path: str, method: str = "GET", body: t.Any = None, client: t.Any = None) -> t.Any:
        """Ask the proxy's API."""
        return await super().api_request(path, method, body, client or self._patient)

    async def add_route(self, routespec: str, target: str, data: dict[str, t.Any]) -> None:
        """Add a route, as soon as the proxy is there; in the end leave it to the look that repairs routes.

        JupyterHub would stop the notebook that has just started. Meanwhile its user goes on seeing that it starts.
        """
        deadline, told = time.monotonic() + ROUTE_PATIENCE, False
        while True:
            try:
                return t.cast(None, await super().add_route(routespec, target, data))
            except OSError as error:  # TimeoutError is one, and so is a name that is nobody's
                late = time.monotonic() >= deadline
                if late or not told:
                    self.log.warning("The route %s cannot be added now: %s", routespec, error)
                if late:
                    return None
                told = True
            await asyncio.sleep(ROUTE_PAUSE)
