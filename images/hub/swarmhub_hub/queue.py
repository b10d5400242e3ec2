"""The queue for cards: who came first is served first, and no service exists before its cards are free.

The swarm's own pending tasks start in no order. One task looks at what is free, decides with `placement` and creates
the services one after the other, so that no two starts see the same card free. The queue is a table in the hub's
database: a hub that is started again serves those who were waiting in their order.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import typing as t

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from swarmhub_hub.docker_calls import docker_calls, is_no_answer
from swarmhub_hub.nodes import Holdings, read_holdings
from swarmhub_hub.placement import Limits, Place, Wish, decide, impossible
from swarmhub_hub.settings import Profile, Settings

#: Seconds between two looks at the cluster while somebody waits.
INTERVAL = 0.7
#: Seconds for which a node is left out after the scheduler found no room on it.
AVOID_SECONDS = 30

#: Creates the service at a place, told all kinds of cards in the cluster.
Create = t.Callable[[Place, t.Sequence[str]], t.Awaitable[None]]


class NeverPlaced(Exception):
    """No node, and no limit, would ever let this start happen; the message says why."""


class _Base(DeclarativeBase):
    pass


class Row(_Base):
    """One start that waits, or that has its cards and is not ready yet; ``since`` is in Unix seconds."""

    __tablename__ = "swarmhub_queue"

    number: Mapped[int] = mapped_column(primary_key=True)
    user_name: Mapped[str] = mapped_column(sa.Unicode(255))
    server_name: Mapped[str] = mapped_column(sa.Unicode(255))
    profile: Mapped[str] = mapped_column(sa.Unicode(255))
    node_id: Mapped[str] = mapped_column(sa.Unicode(255))
    since: Mapped[float] = mapped_column(sa.Double())  # MySQL's FLOAT would be minutes off


@dataclasses.dataclass(eq=False)
class Waiter:
    """A row, and what the running hub knows of it.

    Attributes:
        number, user, server, profile, node_id, since: see `Row` and `Wish`.
        asked: asked for in this life of the hub; else it was waiting when the last one ended.
        words: what it waits for, for the person who waits.
        place: set once the service is there; None while nobody waits for it.
        create, creation: see `Queue.place`; and its run, once there is one.
        avoid: nodes without room, until when (of time.monotonic).
    """

    number: int
    user: str
    server: str
    profile: Profile
    node_id: str
    since: float
    asked: bool = False
    words: str = ""
    place: asyncio.Future[Place] | None = None
    create: Create | None = None
    creation: asyncio.Future[None] | None = None
    avoid: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Tell whether somebody waits for the place now."""
        return self.place is not None and not self.place.done()


class Queue:
    """The queue of one hub."""

    def __init__(self, db: Session, settings: Settings, log: logging.Logger) -> None:
        """Read the table, which is made where it is missing, without those who can wait no more.

        These are who waited for a profile that is gone, or for longer than anybody may.
        """
        self._db, self._settings, self._log = db, settings, log
        #: Set while the hub stops: the rows are for its successor.
        self.closing = False
        #: Rows that the database did not delete when it was asked to.
        self._left_over: set[int] = set()
        self._changed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        _Base.metadata.create_all(db.get_bind(), checkfirst=True)
        profiles = {profile.slug: profile for profile in settings.profiles}
        oldest = time.time() - settings.queue_timeout - settings.start_timeout
        db.execute(sa.delete(Row).where(sa.or_(Row.profile.not_in(profiles), Row.since < oldest)))
        db.commit()
        self._waiters = [
            Waiter(row.number, row.user_name, row.server_name, profiles[row.profile], row.node_id, row.since)
            for row in db.scalars(sa.select(Row).order_by(Row.number))
        ]

    # --- for the spawner ----------------------------------------------------------------------------------------

    def enter(self, user: str, server: str, profile: Profile, node_id: str) -> Waiter:
        """Take up the row that this start had before the hub was started again, or append one."""
        kept = next((waiter for waiter in self._waiters if (waiter.user, waiter.server) == (user, server)), None)
        if kept and not kept.asked and kept.profile.slug == profile.slug:
            kept.asked = True
            return kept
        if kept:
            self.forget(kept)
        since = time.time()
        row = Row(user_name=user, server_name=server, profile=profile.slug, node_id=node_id, since=since)
        self._db.add(row)
        self._db.commit()
        waiter = Waiter(row.number, user, server, profile, node_id, since, asked=True)
        self._waiters.append(waiter)
        return waiter

    async def place(self, waiter: Waiter, create: Create) -> Place:
        """Wait until the cards are free, and return the place at which ``create`` has made the service by then.

        Raises:
            NeverPlaced: there is no use in waiting.
            Exception: whatever ``create`` raised.
        """
        waiter.create = create
        waiter.place = asyncio.get_running_loop().create_future()
        self._changed.set()
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await waiter.place

    def no_room(self, waiter: Waiter, node_id: str) -> None:
        """Leave a node out for a while: its cards are free, and yet the scheduler found no room there."""
        waiter.avoid[node_id] = time.monotonic() + AVOID_SECONDS

    async def leave(self, waiter: Waiter) -> None:
        """End a start, or one that was given up; a service that is being created is there when this returns."""
        if waiter.place:
            waiter.place.cancel()
        if waiter.creation:
            await asyncio.wait([waiter.creation])
        if not self.closing:
            self.forget(waiter)

    # --- for the hub --------------------------------------------------------------------------------------------

    def unasked(self) -> list[Waiter]:
        """Return those who were waiting when the hub stopped and have not asked again."""
        return [waiter for waiter in self._waiters if not waiter.asked]

    def those_who_wait(self) -> list[Waiter]:
        """Return those who wait for cards, in their order, and those for whom a place is kept."""
        return [waiter for waiter in self._waiters if waiter.waits or not waiter.asked]

    def forget(self, waiter: Waiter) -> None:
        """Remove a row, later where the database gives no answer now."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._left_over.add(waiter.number)
        if waiter.place:
            waiter.place.cancel()
        try:
            self._db.execute(sa.delete(Row).where(Row.number.in_(self._left_over)))
            self._db.commit()
            self._left_over.clear()
        except SQLAlchemyError as error:
            self._db.rollback()
            self._log.warning("The queue's rows %s are deleted later: %s", sorted(self._left_over), error)

    # --- the one task -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Serve until nobody waits any more."""
        answers = True
        self._changed = asyncio.Event()
        while any(waiter.waits for waiter in self._waiters):
            self._changed.clear()
            try:
                await self._serve_once()
                answers = True
            except Exception as error:  # noqa: BLE001 - one odd answer must not cost everybody their place
                if isinstance(error, SQLAlchemyError):
                    self._db.rollback()
                if answers:
                    self._log.warning("Cannot look for free cards; the queue goes on trying", exc_info=error)
                answers = False
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), INTERVAL)
        except TimeoutError:
            return

    async def _serve_once(self) -> None:
        ours = {"label": f"swarmhub.cluster={self._settings.cluster_name}"}
        holdings = read_holdings(
            await docker_calls("nodes"), await docker_calls("tasks"), await docker_calls("services", filters=ours)
        )
        limits = self._limits()
        self._refuse(holdings, limits)
        waiters = {waiter.number: waiter for waiter in self.those_who_wait()}
        wishes = [_wish(waiter, limits) for waiter in waiters.values()]
        decision = decide(wishes, holdings, limits, time.time(), self._settings.queue_backfill)
        for number, words in decision.waits.items():
            waiters[number].words = words
        for number, place in decision.places.items():
            await self._create(waiters[number], place, holdings.kinds())

    def _refuse(self, holdings: Holdings, limits: Limits) -> None:
        """End the waiting of those who came just now and could wait for ever."""
        for waiter in self._waiters:
            if waiter.place and waiter.waits and not waiter.words:
                wish = _wish(waiter, limits)
                if reason := limits.refusal(wish) or impossible(wish, holdings):
                    waiter.place.set_exception(NeverPlaced(reason))

    async def _create(self, waiter: Waiter, place: Place, kinds: t.Sequence[str]) -> None:
        if not (waiter.place and waiter.create and waiter.waits):
            return  # given up meanwhile, or not asked for again yet: then the place is kept free
        waiter.creation = asyncio.ensure_future(waiter.create(place, kinds))
        [failure] = await asyncio.gather(waiter.creation, return_exceptions=True)
        waiter.creation = None
        if waiter.place.done():
            return  # given up while the service was created: who left removes it
        if failure and is_no_answer(failure):
            self._log.warning("Cannot create the service of %s now, and tries again: %s", waiter.user, failure)
        elif failure:
            waiter.place.set_exception(failure)
        else:
            waiter.place.set_result(place)

    def _limits(self) -> Limits:
        limited = self._settings.group_gpu_limits
        groups = {name: orm.Group.find(self._db, name) for name in limited}
        members = {name: {user.name for user in group.users} if group else set() for name, group in groups.items()}
        return Limits(self._settings.user_gpu_limit, limited, members)


def _wish(waiter: Waiter, limits: Limits) -> Wish:
    now = time.monotonic()
    return Wish(
        number=waiter.number,
        user=waiter.user,
        groups=frozenset(name for name, members in limits.members.items() if waiter.user in members),
        profile=waiter.profile,
        since=waiter.since,
        node_id=waiter.node_id,
        avoid=frozenset(node for node, until in waiter.avoid.items() if until > now),
    )
