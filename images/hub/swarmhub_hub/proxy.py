"""JupyterHub's client of the proxy, with the patience that a busy hub needs."""

from __future__ import annotations

import typing as t

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse


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
        """Add a route; where the proxy does not answer, the look that repairs routes adds it later.

        JupyterHub would stop the notebook that has just started.
        """
        try:
            await super().add_route(routespec, target, data)
        except TimeoutError as error:
            self.log.warning("The route %s will follow: %s", routespec, error)
