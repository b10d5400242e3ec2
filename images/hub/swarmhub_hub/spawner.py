"""A notebook server as one swarm service.

dockerspawner's SwarmSpawner supplies names, state and environment; start, poll and stop are our own, since upstream's
take a task on its way for a stopped one, wait for a rejected one, and leave the service of a failed start behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import typing as t

from docker.errors import APIError, NotFound
from dockerspawner import SwarmSpawner
from jupyterhub.utils import utcnow
from sqlalchemy.exc import SQLAlchemyError
from tornado import web
from traitlets import Instance, Int, default

from swarmhub_hub import tasks
from swarmhub_hub.announcements import ADMIN_SCOPE, Announcements
from swarmhub_hub.availability import Availability
from swarmhub_hub.culler import farewell_name
from swarmhub_hub.docker_calls import DockerFailure, docker_calls, is_no_answer
from swarmhub_hub.homes import HomeError, folders_of, make_home, mounts
from swarmhub_hub.names import home_name, service_name
from swarmhub_hub.nodes import advertised, card_kinds
from swarmhub_hub.notebook_files import is_missing_config, notebook_files
from swarmhub_hub.placement import Place
from swarmhub_hub.profiles import ProfileError, allowed_profiles, choose_profile, profile_form
from swarmhub_hub.queue import NeverPlaced, Queue, Waiter
from swarmhub_hub.server_limits import servers_refusal
from swarmhub_hub.service import STOP_GRACE_SECONDS, service_arguments
from swarmhub_hub.settings import PROBE_USER, Folder, Profile, Settings
from swarmhub_hub.usage import Usage

#: start() gives up this many seconds before JupyterHub would, so that the reason can be told.
TIMEOUT_MARGIN = 15
#: A start holds its slot until it is placed, or for as many seconds: who waits for memory must not block the others.
SLOT_SECONDS = 10
#: A task that has cards is given a node within as many seconds, or another place is looked for.
ASSIGN_SECONDS = 5
#: Seconds between two tries to reach a server that is starting.
LISTEN_PAUSE = 0.2
CANCELLED = "The start was cancelled."


class SpawnFailed(web.HTTPError):
    """A start that failed, in words that both the page and the API show."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.jupyterhub_message = message


class SwarmhubSpawner(SwarmSpawner):
    """See the module."""

    settings = Instance(Settings, config=True, help="What the hub was told.")
    concurrent_creations = Int(4, config=True, help="How many services are created and placed at the same time.")

    #: The queue for cards, what is free, announced and used, of all spawners; the hub sets them at its start.
    queue: t.ClassVar[Queue]
    availability: t.ClassVar[Availability]
    announcements: t.ClassVar[Announcements]
    usage: t.ClassVar[Usage]
    _slots: t.ClassVar[asyncio.Semaphore | None] = None
    _waiter: Waiter | None = None
    _task: tasks.Task | None = None
    _node = ""
    _stopped = False
    _deadline = 0.0
    _folders: t.Sequence[Folder] = ()
    profile: Profile | None = None
    node_id = ""

    # --- names and plumbing -------------------------------------------------------------------------------------

    @default("object_name")
    def _object_name_default(self) -> str:
        return service_name(self.user.name, self.name)

    @default("options_form")
    def _default_options_form(self) -> t.Callable[[SwarmhubSpawner], t.Awaitable[str]]:
        return lambda spawner: spawner.form()

    @default("options_from_form")
    def _default_options_from_form(self) -> t.Callable[[dict[str, list[str]]], dict[str, str]]:
        return lambda form: {key: form[key][0] for key in ("profile", "node") if form.get(key)}

    @default("apply_user_options")
    def _default_apply_user_options(self) -> t.Callable[[SwarmhubSpawner, dict[str, t.Any]], t.Awaitable[Profile]]:
        return lambda spawner, options: spawner.choose(options)

    async def docker(self, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a method of the Docker client; see `DockerCalls`."""
        return await docker_calls(method, *args, **kwargs)

    # --- what the user asked for --------------------------------------------------------------------------------

    def allowed(self) -> list[Profile]:
        """Return the profiles that this user may start."""
        return allowed_profiles(self.settings, self.user.name, self._groups(), bool(self.user.admin))

    def _groups(self) -> set[str]:
        return {group.name for group in self.user.groups}

    async def form(self) -> str:
        """Return the choice of profiles, with what could start now."""
        allowed = self.allowed()
        return profile_form(allowed, await self.availability.words(allowed) if len(allowed) > 1 else {})

    async def choose(self, options: dict[str, t.Any]) -> Profile:
        """Settle profile and node from the user's options, and return the profile.

        Raises:
            SpawnFailed: unknown (400), not allowed or beyond a limit (403), or not now (503).
        """
        self._check_maintenance()
        try:
            profile = choose_profile(self.allowed(), self.settings, options.get("profile"))
        except ProfileError as error:
            raise SpawnFailed(error.status, str(error)) from error
        self._check_limits(profile)
        node = options.get("node") or ""
        # The node counts for this start only: JupyterHub would take it up again at the next start without options.
        self.user_options = self.orm_spawner.user_options = {"profile": profile.slug}
        if node and not self._asked_by_admin():
            raise SpawnFailed(403, "Only an administrator may choose the node.")
        self.node_id = await self._find_node(node) if node else ""
        self.profile = profile
        self.image = profile.image
        self.cpu_limit, self.cpu_guarantee = profile.cpu_limit, profile.cpu_guarantee
        self.mem_limit, self.mem_guarantee = profile.mem_limit, profile.mem_guarantee
        # JupyterHub reads it before start(): it must not end a start that waits for cards, or for its turn.
        waiting = self.settings.queue_timeout if profile.gpus else self.settings.start_timeout
        self.start_timeout = waiting + self.settings.start_timeout + TIMEOUT_MARGIN
        return profile

    def _check_maintenance(self) -> None:
        """Refuse what is new; who was waiting for cards when the hub was started again goes on waiting."""
        told = self.announcements.maintenance()
        goes_on = any((waiter.user, waiter.server) == (self.user.name, self.name) for waiter in self.queue.unasked())
        if told and not (self._asked_by_admin() or self.user.name == PROBE_USER or goes_on):
            raise SpawnFailed(503, f"No notebook can be started now: {told.text}")

    def _check_limits(self, profile: Profile) -> None:
        name, groups = self.user.name, self._groups()
        refusal = servers_refusal(self.user.db, self.settings.group_server_limits, self.orm_spawner, groups)
        if profile.gpus and not profile.gpu_shared:
            refusal = refusal or self.usage.refusal(name, groups, time.time())
        if refusal:
            raise SpawnFailed(403, f"The notebook cannot start: {refusal}")

    def _asked_by_admin(self) -> bool:
        return self.handler is not None and ADMIN_SCOPE in self.handler.expanded_scopes

    async def _find_node(self, wanted: str) -> str:
        nodes = [(node["ID"], (node.get("Description") or {}).get("Hostname")) for node in await self.docker("nodes")]
        found = [node_id for node_id, hostname in nodes if wanted in (node_id, hostname)]
        if len(found) != 1:
            what = (
                f"{len(found)} nodes are called '{wanted}': give the node's ID." if found else f"no node is '{wanted}'."
            )
            raise SpawnFailed(400, f"The node cannot be chosen: {what}")
        return t.cast(str, found[0])

    # --- start --------------------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, int]:
        """Create the service, where it needs cards once they are free, and return its name and port when it runs.

        Raises:
            SpawnFailed: with the swarm's own words; the service is gone by then.
        """
        self._task, self._node, self._stopped = None, "", False
        self.announcements.take_back(farewell_name(self.user.name, self.name))
        profile = self.profile or await self.choose({})
        try:
            directory = await self._prepare()
            if profile.gpus:
                await self._start_on_cards(profile, directory)
            else:
                await self._start_anywhere(profile, directory)
            await self._wait_until_it_listens()
        except BaseException as error:
            # Also when cancelled: a service left behind would hold its cards.
            await asyncio.shield(self._clean_up())
            if isinstance(error, DockerFailure):
                raise SpawnFailed(503, f"The swarm refused the notebook: {_words(error)}") from error
            if isinstance(error, asyncio.CancelledError) and not self.queue.closing:
                # JupyterHub forgets the server of a start that failed; that of one that was cancelled would stay.
                raise SpawnFailed(409, CANCELLED) from error
            raise
        finally:
            await asyncio.shield(self._leave_queue())
        return self.object_name, self.port

    async def _prepare(self) -> str:
        """Make what must be there before the service, and return the home's directory."""
        homes = self.settings.homes
        self._folders = folders_of(homes, self._groups())
        directory = self.escaped_name if homes.escaped_names else home_name(self.user.name)
        try:
            await asyncio.to_thread(make_home, homes, directory, self._folders)
        except HomeError as error:
            raise SpawnFailed(500, f"Your home is not ready: {error}. Please tell an administrator.") from error
        await self._remove_service()  # one that an earlier start left behind
        return directory

    async def _start_anywhere(self, profile: Profile, directory: str) -> None:
        slot, patience = self._slot(), self.settings.start_timeout
        try:
            await asyncio.wait_for(slot.acquire(), patience)
        except TimeoutError as error:
            raise SpawnFailed(503, f"So many start now that your turn did not come within {patience} s.") from error
        try:
            self._start_the_clock()
            kinds = card_kinds(kind for node in await self.docker("nodes") for kind, _ in advertised(node))
            await self._create(profile, directory, kinds)
            await self._wait(_is_placed, min(self._deadline, time.monotonic() + SLOT_SECONDS))
        finally:
            slot.release()

    async def _start_on_cards(self, profile: Profile, directory: str) -> None:
        """Wait for cards, and have the service created there, again elsewhere when the scheduler finds no room."""

        async def create(place: Place, kinds: t.Sequence[str]) -> None:
            await self._remove_service()  # one that was made without an answer
            await self._create(profile, directory, kinds, place)

        self._waiter = self.queue.enter(self.user.name, self.name, profile, self.node_id)
        queue_ends = self._waiter.since + self.settings.queue_timeout
        while True:
            try:
                left = max(queue_ends - time.time(), 0)
                place = await asyncio.wait_for(self.queue.place(self._waiter, create), left)
            except NeverPlaced as error:
                raise SpawnFailed(409, f"The notebook cannot start: {error}.") from error
            except TimeoutError as error:
                seconds = self.settings.queue_timeout
                raise SpawnFailed(503, f"No place was free for {seconds} s. {self._waiter.words}.") from error
            self._start_the_clock()
            if await self._wait(_is_placed, min(self._deadline, time.monotonic() + ASSIGN_SECONDS)):
                return
            self.log.warning("Service %s found no room on %s; choosing again", self.object_name, place.hostname)
            await self._remove_service()
            self._task = None
            self.queue.no_room(self._waiter, place.node_id)

    async def _wait_until_it_listens(self) -> None:
        """Return once the server can be asked; JupyterHub, which asks then, pauses for longer and longer."""
        while await self._wait(_is_running, self._deadline) and time.monotonic() < self._deadline:
            if await listens(tasks.address(self._task or {}, self.settings.network), self.port):
                return
            await asyncio.sleep(LISTEN_PAUSE)
        raise self._too_late()

    def _start_the_clock(self) -> None:
        # Waiting for cards, or for its turn, is no part of a notebook's age.
        self.orm_spawner.started = utcnow(with_tz=False)
        self.user.db.commit()  # the next request, whoever's it is, would roll it back
        self._deadline = time.monotonic() + self.settings.start_timeout

    async def _clean_up(self) -> None:
        try:
            await self._leave_queue()  # first: what the queue is creating is there to be removed after that
            await self._remove_service()
        except DockerFailure as error:
            self.log.warning("Service %s is left to the reaper: %s", self.object_name, _words(error))

    async def _leave_queue(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter:
            await self.queue.leave(waiter)

    def _too_late(self) -> SpawnFailed:
        _, waiting_for = tasks.progress_of(self._task, self._node)
        return SpawnFailed(503, f"The notebook did not start in {self.settings.start_timeout} s. {waiting_for}.")

    def _slot(self) -> asyncio.Semaphore:
        if SwarmhubSpawner._slots is None:
            SwarmhubSpawner._slots = asyncio.Semaphore(self.concurrent_creations)
        return SwarmhubSpawner._slots

    async def _create(
        self, profile: Profile, directory: str, kinds: t.Sequence[str], place: Place | None = None
    ) -> None:
        if self._stopped:
            raise SpawnFailed(409, CANCELLED)
        arguments = service_arguments(
            self.settings,
            profile,
            name=self.object_name,
            user=self.user.name,
            server=self.name,
            environment=self.get_env(),
            command=[*self.settings.command, *self.get_args()],
            mounts=mounts(self.settings.homes, directory, self.escaped_name, self._folders),
            node_id=self.node_id,
            place=place,
            kinds=kinds,
        )
        creation = asyncio.ensure_future(self._create_service(arguments))
        try:
            service = await asyncio.shield(creation)
        except asyncio.CancelledError:
            await asyncio.wait([creation])  # its thread goes on: what it makes must be there to be removed
            raise
        self.object_id = service["ID"]
        self.log.info("Created service %s for %s, profile %s", self.object_name, self._log_name, profile.slug)

    async def _create_service(self, arguments: dict[str, t.Any]) -> dict[str, str]:
        container = arguments["task_template"]["ContainerSpec"]
        container["Configs"] = await notebook_files.references(self.settings.cluster_name)
        try:
            return t.cast("dict[str, str]", await self.docker("create_service", **arguments))
        except APIError as error:
            if not is_missing_config(error):
                raise
        notebook_files.forget()
        container["Configs"] = await notebook_files.references(self.settings.cluster_name)
        return t.cast("dict[str, str]", await self.docker("create_service", **arguments))

    async def _wait(self, reached: t.Callable[[tasks.Task], bool], deadline: float) -> bool:
        """Watch the task until ``reached`` or ``deadline`` (of time.monotonic); return whether it was reached.

        Raises:
            SpawnFailed: the task ended, or the server was stopped meanwhile.
        """
        pause = 0.3
        while True:
            try:
                found = None if self._stopped else await self._tasks()
            except DockerFailure as error:
                if not is_no_answer(error):
                    raise
                found = [self._task] if self._task else []  # no news
            if found is None:
                raise SpawnFailed(409, CANCELLED)
            self._task = tasks.latest(found)
            if self._task is not None:
                if not tasks.is_alive(self._task):
                    raise SpawnFailed(503, f"The notebook did not start: {tasks.end_of(self._task)}.")
                await self._look_up_node(self._task.get("NodeID", ""))
                if reached(self._task):
                    return True
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 1.3, 2)

    async def _look_up_node(self, node_id: str) -> None:
        if node_id and not self._node:
            node = await self.docker("inspect_node", node_id)
            self._node = node["Description"]["Hostname"]

    async def progress(self) -> t.AsyncIterator[dict[str, t.Any]]:
        """Tell the person who waits what the swarm says; JupyterHub ends this with the start."""
        told = None
        while True:
            if self._waiter and self._waiter.waits:
                percent, message = 5, self._waiter.words or "Looking for free cards"
            else:
                percent, message = tasks.progress_of(self._task, self._node)
            if message != told:
                told = message
                yield {"progress": percent, "message": message}
            await asyncio.sleep(1)

    # --- poll and stop ------------------------------------------------------------------------------------------

    async def poll(self) -> int | str | None:
        """Return None while the task is alive, else 0 (there is none) or why it ended.

        When the engine gives no answer the notebook counts as alive: a hiccup must not end anybody's work.
        """
        if not self.object_id:
            return 0
        try:
            found = await self._tasks()
        except DockerFailure as error:
            self.log.warning("Cannot ask the swarm about %s, taken as running: %s", self.object_name, _words(error))
            return None
        task = tasks.latest(found) if found else None
        if task is None:
            return 0
        return None if tasks.is_alive(task) else tasks.end_of(task)

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002
        """Remove the service, and return when its task has ended (a bounded while); its cards were held until then."""
        found = await self._tasks() or []
        await self._remove_service()
        await self._wait_until_gone([task["ID"] for task in found])
        try:
            self.usage.note(found, time.time())  # the swarm has forgotten them
        except SQLAlchemyError as error:
            self.db.rollback()  # else the end of the server cannot be written down either
            self.log.warning("The hours of cards of %s are not noted: %r", self._log_name, error)

    async def run_post_stop_hook(self) -> None:
        """JupyterHub has forgotten the server; remove the service of one that ended by itself."""
        self._stopped = True
        if self.object_id and await self.poll() is not None:
            await self._remove_service()
        super().run_post_stop_hook()

    def delete_forever(self) -> None:
        """JupyterHub forgets the user, however people sign in: nobody of that name inherits from this one."""
        try:
            self.usage.forget_user(self.user.name)
            self.announcements.forget_user(self.user.name)
        except SQLAlchemyError:
            self.user.db.rollback()  # JupyterHub logs it, and goes on with the same session
            raise

    async def ask(self) -> None:
        """See that the swarm answers.

        Raises:
            docker.errors.DockerException, requests.exceptions.RequestException: it does not.
        """
        await self._tasks()

    async def _tasks(self) -> list[tasks.Task] | None:
        """Return the service's tasks, None when there is no such service."""
        if not self.object_id:
            return None
        try:
            return t.cast("list[tasks.Task]", await self.docker("tasks", filters={"service": self.object_id}))
        except NotFound:
            return None

    async def _remove_service(self) -> None:
        with contextlib.suppress(NotFound):
            await self.docker("remove_service", self.object_name)
        self.object_id = ""

    async def _wait_until_gone(self, task_ids: t.Iterable[str]) -> None:
        deadline = time.monotonic() + STOP_GRACE_SECONDS + 5
        for task_id in task_ids:
            while time.monotonic() < deadline:
                try:
                    task = await self.docker("inspect_task", task_id)
                except NotFound:
                    break
                if tasks.state(task) not in tasks.STARTING | {tasks.RUNNING}:
                    break
                await asyncio.sleep(0.5)


def _is_placed(task: tasks.Task) -> bool:
    return tasks.state(task) not in tasks.WAITING


def _is_running(task: tasks.Task) -> bool:
    return tasks.state(task) == tasks.RUNNING


async def listens(address: str, port: int) -> bool:
    """Tell whether somebody listens there, within two seconds."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _words(error: BaseException) -> str:
    return str(error.explanation) if isinstance(error, APIError) and error.explanation else str(error)
