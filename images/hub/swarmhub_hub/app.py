"""JupyterHub, waiting for what it needs at its start, and then looking after routes, notebooks and services."""

from __future__ import annotations

import asyncio
import datetime
import functools
import json
import signal
import time
import typing as t
from urllib.parse import quote

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from nativeauthenticator import NativeAuthenticator
from sqlalchemy.exc import SQLAlchemyError
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Dict, Instance

from swarmhub_hub import culler, reaper, usage
from swarmhub_hub.announcements import Announcement, Announcements, AnnouncementsHandler, ToldHandler, may_upgrade
from swarmhub_hub.availability import Availability, AvailabilityHandler, ClusterLook
from swarmhub_hub.cancelling import ServerHandler
from swarmhub_hub.cluster_page import ClusterHandler
from swarmhub_hub.database import wait_for_database
from swarmhub_hub.docker_calls import DockerFailure, docker_calls
from swarmhub_hub.lock import hold_lock
from swarmhub_hub.metrics import HubMetricsHandler, ProxyMetricsHandler, TargetsHandler
from swarmhub_hub.queue import Queue, Waiter
from swarmhub_hub.settings import Settings
from swarmhub_hub.signups import SignupHandler
from swarmhub_hub.spawner import SwarmhubSpawner
from swarmhub_hub.usage import Usage
from swarmhub_hub.usage_page import UsageHandler

#: Seconds that the hub waits for the database, and then for the proxy, before it gives up and is started again.
START_PATIENCE = 120
ROUTES_INTERVAL = 1
#: Seconds for which a place is kept for those who were waiting for cards when the hub stopped and have not asked again.
KEPT_SECONDS = 120
#: What a request to the proxy can end in.
ProxyFailure = (HTTPClientError, OSError, TimeoutError)


class SwarmhubApp(JupyterHub):
    """See the module."""

    name = "jupyterhub"
    swarmhub_settings = Instance(Settings, config=True, help="What the hub was told.")
    _proxy_answers = True
    _reported: frozenset[str] = frozenset()
    _put_off = Dict(help="Chore → the error that its last turn ended in.")

    def init_db(self) -> None:
        """Wait for the database, and for the end of a hub before us, then let JupyterHub connect."""
        try:
            wait_for_database(self.db_url, self.db_kwargs, START_PATIENCE, self.log)
        except TimeoutError as error:
            self.exit(str(error))
        hold_lock(self.db_url, self.swarmhub_settings.cluster_name, self.log)
        # There is no way back from a newer schema but a dump, which playbooks/upgrade.yml makes.
        self.upgrade_db = may_upgrade(self.db_url, self.db_kwargs)
        super().init_db()
        SwarmhubSpawner.queue = Queue(self.db, self.swarmhub_settings, self.log)
        self._look = ClusterLook(self.swarmhub_settings.cluster_name)
        SwarmhubSpawner.availability = Availability(self._look, SwarmhubSpawner.queue)
        SwarmhubSpawner.announcements = Announcements(self.db)
        self.template_vars["own_accounts"] = issubclass(self.authenticator_class, NativeAuthenticator)
        SwarmhubSpawner.usage = Usage(self.db, self.swarmhub_settings)
        self.template_vars["announcements"] = self._told

    def init_handlers(self) -> None:
        """Add our part of the REST API, and what our pages ask for."""
        super().init_handlers()
        announcements = {"announcements": SwarmhubSpawner.announcements}
        availability = {"availability": SwarmhubSpawner.availability}
        cluster = {"look": self._look, "queue": SwarmhubSpawner.queue}
        metrics = {**cluster, "settings": self.swarmhub_settings}
        ours = [
            (r"/api/announcements(?:/([^/]+))?", AnnouncementsHandler, announcements),
            (r"/api/user/announcements", ToldHandler, {"told": self._told}),
            (r"/api/users/([^/]+)/server", ServerHandler),
            (r"/api/signups/([^/]+)", SignupHandler),
            (r"/availability", AvailabilityHandler, availability),
            (r"/usage", UsageHandler, {"usage": SwarmhubSpawner.usage, "settings": self.swarmhub_settings}),
            (r"/cluster", ClusterHandler, cluster),
            (r"/metrics", HubMetricsHandler, metrics),
            (r"/metrics/proxy", ProxyMetricsHandler, metrics),
            (r"/metrics/targets", TargetsHandler, metrics),
        ]
        self.handlers[:0] = self.add_url_prefix(self.hub_prefix, ours)

    def _told(self, user: t.Any) -> list[Announcement]:
        """Return what a page, or a notebook's own, tells a JupyterHub user, or None, who has not signed in."""
        told = SwarmhubSpawner.announcements.shown_to(user)
        if user is None:
            return told
        now = datetime.datetime.now(datetime.UTC)
        return told + culler.warnings(self.db, self.swarmhub_settings, user.name, now)

    async def init_spawners(self) -> int:
        """Write down whose notebooks ended while there was no hub, before JupyterHub takes their services away."""
        await self._try(self.note_usage)
        return t.cast(int, await super().init_spawners())

    async def init_api_tokens(self) -> None:
        """Let the present tokens of our own services in, and no former ones: JupyterHub itself only adds."""
        await super().init_api_tokens()
        for name in (spec["name"] for spec in self.services):
            for token in orm.Service.find(self.db, name).api_tokens:
                if not token.match(self._service_map[name].api_token):
                    self.db.delete(token)
        self.db.commit()

    async def start(self) -> None:
        """Wait for the proxy, start JupyterHub, then begin to look after routes and services."""
        if not (self.subapp or self.generate_config or self.generate_certs):
            await self._wait_for_proxy()
        await super().start()
        if not (self.subapp or self.generate_config or self.generate_certs):
            chores = (
                self._try(self._resume),
                self._go_on(self.repair_routes, ROUTES_INTERVAL, ROUTES_INTERVAL),
                self._go_on(self.reap, reaper.INTERVAL, reaper.GRACE),
                self._go_on(self.note_usage, usage.INTERVAL),
                self._go_on(self.cull_once, culler.INTERVAL, culler.GRACE),
            )
            self._chores = [asyncio.create_task(chore) for chore in chores]

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """End all starts, and leave the queue to the hub that comes next."""
        SwarmhubSpawner.queue.closing = True
        await super().shutdown_cancel_tasks(sig)

    async def _wait_for_proxy(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while True:
            try:
                await self.proxy.get_all_routes()
            except ProxyFailure as error:
                if time.monotonic() >= deadline:
                    self.exit(f"the proxy's API {self.proxy.api_url} did not answer within {START_PATIENCE} s: {error}")
                self.log.warning("Waiting for the proxy's API %s: %s", self.proxy.api_url, error)
            else:
                return
            await asyncio.sleep(2)

    # --- routes -------------------------------------------------------------------------------------------------

    async def repair_routes(self) -> None:
        """Give a proxy that was started again its routes back, within a second or two; say once that it is away."""
        try:
            await self.repair_routes_once()
        except ProxyFailure as error:
            if self._proxy_answers:
                self.log.warning("The proxy's API does not answer: %s", error)
            self._proxy_answers = False
        else:
            self._proxy_answers = True

    async def repair_routes_once(self) -> bool:
        """Look at the proxy's routes, and let JupyterHub check them all when one is missing; return whether it did.

        Raises:
            HTTPClientError, OSError, TimeoutError: the proxy does not answer.
        """
        routes = await self.proxy.get_all_routes()
        wanted = {self.hub.routespec}
        for user in self.users.values():
            wanted.update(spawner.proxy_spec for spawner in user.spawners.values() if spawner.ready)
        if wanted <= routes.keys():
            return False
        await self.proxy.check_routes(self.users, self._service_map, routes)
        return True

    # --- those who were waiting for cards -----------------------------------------------------------------------

    async def _resume(self) -> None:
        """Start the servers that were waiting for cards when the hub stopped; they keep their places for a while."""
        queue = SwarmhubSpawner.queue
        waiters = queue.unasked()
        if not waiters:
            return
        # A client of its own: these requests last, and the shared one has ten connections, the proxy's among them.
        client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 60}, max_clients=len(waiters))
        await asyncio.gather(*(self._ask_again(waiter, client) for waiter in waiters))
        client.close()
        await asyncio.sleep(KEPT_SECONDS)
        for waiter in queue.unasked():
            queue.forget(waiter)

    async def _ask_again(self, waiter: Waiter, client: AsyncHTTPClient) -> None:
        """Ask for a server as its user would, until JupyterHub has looked after what the last start left behind."""
        refusal = "the user is gone"
        if waiter.user in self.users:
            token = self.users[waiter.user].new_api_token(note="a start that goes on", expires_in=KEPT_SECONDS)
            path = f"users/{quote(waiter.user)}/servers/{quote(waiter.server)}"
            try:
                refusal = await self._post_until_free(client, path, token, {"profile": waiter.profile.slug})
            finally:
                if orm_token := orm.APIToken.find(self.db, token):
                    self.db.delete(orm_token)
                    self.db.commit()
        if refusal:
            self.log.warning("%s waits for cards no more: %s", waiter.user, refusal)
            SwarmhubSpawner.queue.forget(waiter)
        else:
            self.log.info("%s goes on waiting for cards", waiter.user)

    async def _post_until_free(self, client: AsyncHTTPClient, path: str, token: str, body: dict[str, str]) -> str:
        """Return "" when the API took the request, else why not."""
        url = f"http://127.0.0.1:{self.hub.port}{self.hub.base_url}api/{path}"
        headers = {"Authorization": f"token {token}"}
        deadline = time.monotonic() + KEPT_SECONDS / 2
        while True:
            try:
                await client.fetch(url, method="POST", body=json.dumps(body), headers=headers)
            except HTTPClientError as error:
                answer = error.response.body.decode(errors="replace") if error.response else ""
                words, final = f"{error} {answer}", "is pending" not in answer
            except (OSError, TimeoutError) as error:
                words, final = str(error), False
            else:
                return ""
            if final or time.monotonic() >= deadline:
                return words
            await asyncio.sleep(1)

    # --- what is done again and again -----------------------------------------------------------------------------

    async def _go_on(self, chore: t.Callable[[], t.Awaitable[None]], interval: float, grace: float = 0) -> None:
        await asyncio.sleep(grace)
        while True:
            await self._try(chore)
            await asyncio.sleep(interval)

    async def _try(self, chore: t.Callable[[], t.Awaitable[None]]) -> None:
        name = getattr(chore, "__name__", str(chore))
        try:
            await chore()
        except Exception as error:
            if isinstance(error, SQLAlchemyError):
                self.db.rollback()
            known = isinstance(error, (*DockerFailure, SQLAlchemyError)) or self._put_off.get(name) == repr(error)
            self.log.warning("%s is put off: %r", name, error, exc_info=not known)
            self._put_off[name] = repr(error)
        else:
            self._put_off.pop(name, None)

    # --- notebooks that have had their time, and hours of cards ---------------------------------------------------

    async def note_usage(self) -> None:
        """Write down who holds cards.

        Raises:
            docker.errors.DockerException, requests.exceptions.RequestException: the engine failed.
            SQLAlchemyError: the database failed.
        """
        SwarmhubSpawner.usage.note((await self._look()).tasks, time.time())

    async def cull_once(self) -> None:
        """Stop the notebooks that are idle, or have run for as long as they may.

        Raises:
            SQLAlchemyError: the database failed.
        """
        now = datetime.datetime.now(datetime.UTC)
        lifetime = functools.partial(culler.Lifetime.of, self.swarmhub_settings)
        verdicts = {each: culler.verdict(each, lifetime(each.slug), now) for each in culler.servers(self.db)}
        culls = (self._cull(server, why) for server, why in verdicts.items() if why)
        for error in filter(None, await asyncio.gather(*culls, return_exceptions=True)):
            self.log.error("A notebook could not be stopped: %r", error, exc_info=error)

    async def _cull(self, server: culler.Server, why: str) -> None:
        user = self.users[server.user]
        spawner = user.spawners[server.name]
        if not spawner.ready:
            return  # it waits for cards, or is on its way
        self.log.info("Stopping the notebook of %s: %s", server.user, why)
        spawner._stop_pending = True  # from here on nobody repairs its route, or stops it as well
        try:
            await spawner.ask()  # without an answer JupyterHub would forget a notebook that runs on
            await self.proxy.delete_user(user, server.name)
            await user.stop(server.name)
        except (*DockerFailure, *ProxyFailure) as error:
            spawner._stop_pending = False
            self.log.warning("Cannot stop the notebook of %s now: %s", server.user, error)
        else:
            SwarmhubSpawner.announcements.put(culler.farewell(server, why, datetime.datetime.now(datetime.UTC)))

    # --- services -----------------------------------------------------------------------------------------------

    async def reap(self) -> None:
        """Remove the services that nobody will miss; tell once of those that run unknown to the hub.

        Raises:
            docker.errors.DockerException, requests.exceptions.RequestException: the engine failed.
            SQLAlchemyError: the database failed.
        """
        settings = self.swarmhub_settings
        services = await docker_calls("services", filters={"label": f"swarmhub.cluster={settings.cluster_name}"})
        all_tasks = await docker_calls("tasks")
        now = datetime.datetime.now(datetime.UTC)
        # Asked last: a server that started meanwhile is known by now.
        verdict = reaper.judge(services, all_tasks, self._known_services(), now, settings.start_timeout)
        for name in verdict.remove:
            self.log.info("Removing service %s: its notebook ended", name)
            await docker_calls("remove_service", name)
        for name in set(verdict.report) - self._reported:
            self.log.warning("Service %s runs, but the hub does not know it; it is left alone", name)
        self._reported = frozenset(verdict.report)

    def _known_services(self) -> set[str]:
        known = {
            spawner.object_name for user in self.users.values() for spawner in user.spawners.values() if spawner.active
        }
        for spawner in self.db.query(orm.Spawner).filter(orm.Spawner.server != None):  # noqa: E711
            state: dict[str, t.Any] = spawner.state or {}
            known.add(state.get("object_name", ""))
        return known
