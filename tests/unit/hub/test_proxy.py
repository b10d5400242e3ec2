"""The client of the proxy's API, on a hub that stands still now and then."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from jupyterhub.proxy import ConfigurableHTTPProxy
from running_hub import SECRETS, Proxy
from swarmhub_hub import proxy as proxy_module
from swarmhub_hub.proxy import SwarmhubProxy

ROUTE = "/user/alice/"


def client_of(api: Proxy) -> SwarmhubProxy:
    port = api.server_address[1]
    return SwarmhubProxy(api_url=f"http://127.0.0.1:{port}", auth_token=SECRETS["proxy_token"], should_start=False)


def test_a_pause_of_the_hub_is_no_failure_of_the_proxy(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        client = client_of(Proxy())
        asked = asyncio.create_task(client.add_route(ROUTE, "http://alice:8888", {}))
        await asyncio.sleep(0.001)
        time.sleep(3.5)  # upstream gives a connection three seconds
        await asked
        assert ROUTE in await client.get_all_routes()

    with caplog.at_level(logging.WARNING):
        asyncio.run(ask())
    assert not caplog.records


def test_a_notebook_that_starts_while_the_proxy_is_away_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    async def start() -> None:
        api = Proxy()
        api.shutdown()
        api.server_close()  # from now on nothing listens there
        client = client_of(api)
        asked = asyncio.create_task(client.add_route(ROUTE, "http://alice:8888", {}))
        await asyncio.sleep(1.5)
        assert not asked.done()
        back = Proxy(api.server_address[1])
        await asyncio.wait_for(asked, 5)
        assert ROUTE.rstrip("/") in {route.rstrip("/") for route in back.routes}

    with caplog.at_level(logging.WARNING):
        asyncio.run(start())
    assert len(caplog.records) == 1


def test_a_proxy_that_stays_away_costs_nobody_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_answer(*_: object) -> None:
        raise TimeoutError("Repeated api_request failed.")

    monkeypatch.setattr(ConfigurableHTTPProxy, "api_request", no_answer)
    monkeypatch.setattr(proxy_module, "ROUTE_PATIENCE", 0)
    asyncio.run(client_of(Proxy()).add_route(ROUTE, "http://alice:8888", {}))
