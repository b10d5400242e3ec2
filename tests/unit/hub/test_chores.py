"""What the hub does again and again goes on, whatever a turn of it ended in."""

from __future__ import annotations

import asyncio
import logging
import typing as t

import pytest
import sqlalchemy as sa
from conftest import Places, start
from fake_docker import FakeDocker
from jupyterhub import orm
from jupyterhub.user import UserDict
from swarmhub_hub.app import SwarmhubApp


class Proxy:
    """Fails as often as it was told to, then has no routes."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.repaired = 0

    async def get_all_routes(self) -> dict[str, t.Any]:
        if self.failures:
            raise self.failures.pop(0)
        return {}

    async def check_routes(self, *_: t.Any) -> None:
        self.repaired += 1


@pytest.fixture
def hub(places: Places) -> SwarmhubApp:
    SwarmhubApp.clear_instance()
    app = SwarmhubApp(log=logging.getLogger(), swarmhub_settings=places.settings)
    app.db, app.users, app._service_map = places.db, UserDict(lambda: places.db, {}), {}
    app.hub = places.spawner("carol").hub
    return app


def turns(chore: t.Coroutine[t.Any, t.Any, None], done: t.Callable[[], bool]) -> None:
    """Let a chore go on until something is done."""

    async def wait() -> None:
        task = asyncio.create_task(chore)
        async with asyncio.timeout(5):
            while not (done() or task.done()):
                await asyncio.sleep(0.01)
        assert not task.done(), "the chore has ended for ever"
        task.cancel()

    asyncio.run(wait())


def test_services_are_reaped_after_an_error_that_nobody_foresaw(
    hub: SwarmhubApp,
    places: Places,
    engine: FakeDocker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start(places.spawner())
    [ended] = engine.live.values()
    ended["script"] = [{"State": "failed"}]
    known, refusals = SwarmhubApp._known_services, [KeyError("object_name")]

    def knows(app: SwarmhubApp) -> set[str]:
        if refusals:
            raise refusals.pop()
        return known(app)

    monkeypatch.setattr(SwarmhubApp, "_known_services", knows)
    turns(hub._go_on(hub.reap, 0.01), lambda: engine.live == {})
    assert "reap is put off: KeyError('object_name')" in caplog.messages


def test_a_failed_database_is_rolled_back_before_services_are_reaped_again(
    hub: SwarmhubApp, places: Places, engine: FakeDocker
) -> None:
    start(places.spawner())
    [ended] = engine.live.values()
    ended["script"] = [{"State": "failed"}]
    places.db.add(orm.User(name="alice"))  # who is there already: the session refuses all until it is rolled back
    with pytest.raises(sa.exc.IntegrityError):
        places.db.flush()
    turns(hub._go_on(hub.reap, 0.01), lambda: engine.live == {})


def test_who_runs_unknown_is_told_once(
    hub: SwarmhubApp, places: Places, engine: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    start(places.spawner())
    [unknown] = engine.live.values()
    asyncio.run(hub.reap())
    asyncio.run(hub.reap())
    words = f"Service {unknown['Spec']['Name']} runs, but the hub does not know it; it is left alone"
    assert caplog.messages.count(words) == 1


def test_routes_are_repaired_after_any_failure_and_a_proxy_that_is_away_is_told_once(
    hub: SwarmhubApp, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = hub.proxy = Proxy(OSError("refused"), OSError("refused"), KeyError("data"))
    turns(hub._go_on(hub.repair_routes, 0.01), lambda: proxy.repaired > 0)
    assert caplog.messages.count("The proxy's API does not answer: refused") == 1
    assert "repair_routes is put off: KeyError('data')" in caplog.messages


def test_an_error_that_comes_back_later_is_explained_again(hub: SwarmhubApp, caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception | None] = [KeyError("new"), KeyError("new"), None, KeyError("new")]

    async def chore() -> None:
        if failure := failures.pop(0):
            raise failure

    for _ in range(4):
        asyncio.run(hub._try(chore))
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True]
