"""What could be started now, told before anybody asks: on the page on which people choose, and live.

GET /hub/availability    {slug: words} of the profiles that the person who has signed in may start
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import typing as t

from jupyterhub.handlers.base import BaseHandler
from tornado import web

from swarmhub_hub.docker_calls import DockerFailure, docker_calls
from swarmhub_hub.nodes import Holdings, Node, read_holdings
from swarmhub_hub.placement import able
from swarmhub_hub.queue import Queue
from swarmhub_hub.settings import Profile

#: Seconds for which one look at the cluster serves everybody who asks.
FRESH = 2


@dataclasses.dataclass(frozen=True)
class Room:
    """How much room there is for one profile.

    Attributes:
        starts: how many notebooks of it could start now, one after the other; None for any number.
        free, total: cards that it would take, on nodes that are ready and active; shared ones are never taken.
        waiting: starts that wait for such cards.
    """

    starts: int | None
    free: int = 0
    total: int = 0
    waiting: int = 0

    def words(self, profile: Profile) -> str:
        """Return a sentence for the person who chooses."""
        if self.starts is None:
            return "Starts at once"
        begin = f"{self.starts or 'None'} could start now"
        if not profile.gpus or profile.gpu_shared:
            return begin
        queue = f", {self.waiting} waiting" if self.waiting else ""
        return f"{begin}: {self.free} of {self.total} cards free{queue}"


def room_for(profile: Profile, holdings: Holdings, waiting: t.Iterable[Profile] = ()) -> Room:
    """Work out the room for a profile, as the queue and the scheduler would find it.

    Args:
        waiting: the profiles of those who wait for cards.
    """
    if not profile.gpus:
        fitting = [node for node in holdings.nodes if node.available and node.meets(profile.constraints)]
        return Room(_sum([_fit(node, profile) for node in fitting]))
    places = [place for place in able(profile, holdings.nodes) if place[0].available]
    by_node = {node.node_id: node for node, _, _ in places}
    counts = []
    for node_id, node in by_node.items():
        cards = sum(max(node.free[kind], 0) // profile.gpus for other, kind, _ in places if other.node_id == node_id)
        room = _fit(node, profile)
        counts.append(room if profile.gpu_shared else cards if room is None else min(cards, room))
    mine = {(node.node_id, kind) for node, kind, _ in places}
    rivals = [
        other
        for other in waiting
        if not mine.isdisjoint((node.node_id, kind) for node, kind, _ in able(other, holdings.nodes))
    ]
    free = sum(max(node.free[kind], 0) for node, kind, _ in places)
    return Room(_sum(counts), free, sum(most for _, _, most in places), len(rivals))


def _sum(counts: t.Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def _fit(node: Node, profile: Profile) -> int | None:
    """Return how many times a node has the cores and the memory that a profile sets aside; None where it sets none."""
    wanted = (((profile.cpu_guarantee or 0) * 10**9, node.cpus), (profile.mem_guarantee or 0, node.memory))
    return min((max(int(have // each), 0) for each, have in wanted if each), default=None)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the engine's GET /nodes, GET /tasks and, of our own, GET /services returned."""

    nodes: t.Sequence[t.Any]
    tasks: t.Sequence[t.Any]
    services: t.Sequence[t.Any]

    def holdings(self) -> Holdings:
        """Work out what is free."""
        return read_holdings(self.nodes, self.tasks, self.services)


class ClusterLook:
    """Looks at the cluster for the hub's pages: one serves all who ask within `FRESH` seconds."""

    def __init__(self, cluster: str) -> None:
        """Look at nothing yet."""
        self._ours = {"label": f"swarmhub.cluster={cluster}"}
        self._lock = asyncio.Lock()
        self._seen: Seen | None = None
        self._at = -float("inf")

    async def __call__(self) -> Seen:
        """Return what is there now, or was a moment ago.

        Raises:
            docker.errors.DockerException, requests.exceptions.RequestException: see docker_calls.DockerFailure.
        """
        async with self._lock:
            if self._seen is None or time.monotonic() - self._at > FRESH:
                self._seen = Seen(
                    await docker_calls("nodes"),
                    await docker_calls("tasks"),
                    await docker_calls("services", filters=self._ours),
                )
                self._at = time.monotonic()
            return self._seen


class Availability:
    """What could start now, by one look at the cluster and at the queue."""

    def __init__(self, look: ClusterLook, queue: Queue) -> None:
        """Look at nothing yet."""
        self._look, self._queue = look, queue

    async def words(self, profiles: t.Iterable[Profile]) -> dict[str, str]:
        """Return a sentence for each profile by its slug; nothing where the engine gives no answer."""
        try:
            holdings = (await self._look()).holdings()
        except DockerFailure:
            return {}
        waiting = [waiter.profile for waiter in self._queue.those_who_wait()]
        return {profile.slug: room_for(profile, holdings, waiting).words(profile) for profile in profiles}


class AvailabilityHandler(BaseHandler):
    """See the module."""

    def initialize(self, availability: Availability) -> None:
        """Keep what the app gives."""
        self._availability = availability

    @web.authenticated
    async def get(self) -> None:
        """Return the words."""
        self.set_header("Cache-Control", "no-store")
        self.write(await self._availability.words(self.current_user.spawners[""].allowed()))
