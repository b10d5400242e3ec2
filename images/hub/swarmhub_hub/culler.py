"""Stops notebooks that are idle, and those that have run for as long as any may; with cards by limits of their own.

How long a notebook has been idle is what JupyterHub knows: requests that came through the proxy, and what the notebook
itself reports, its processes and cards among it (see notebook_files). Who loses a notebook reads why on the hub's
pages, and who is about to lose one reads it in time.
"""

from __future__ import annotations

import dataclasses
import datetime

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.orm import Session

from swarmhub_hub.announcements import Announcement
from swarmhub_hub.names import service_name
from swarmhub_hub.settings import Settings
from swarmhub_hub.spans import in_words

#: Seconds after the hub's start in which nothing is stopped: each notebook reports once within this time.
GRACE = 400
INTERVAL = 60


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs; the times are in UTC."""

    user: str
    name: str
    slug: str
    started: datetime.datetime
    last_activity: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Lifetime:
    """How long a notebook may be idle, and run; None for ever."""

    idle: datetime.timedelta | None
    age: datetime.timedelta | None

    @classmethod
    def of(cls, settings: Settings, slug: str) -> Lifetime:
        """Return what the settings say of a profile; one that is gone has no cards."""
        cards = any(profile.gpus for profile in settings.profiles if profile.slug == slug)
        idle, age = (
            (settings.gpu_idle_timeout, settings.gpu_max_age) if cards else (settings.idle_timeout, settings.max_age)
        )
        return cls(*(datetime.timedelta(seconds=limit) if limit else None for limit in (idle, age)))


def servers(db: Session, user: str | None = None) -> list[Server]:
    """Return the servers that run, of everybody or of one user."""
    asked = sa.select(orm.Spawner).where(orm.Spawner.server_id.is_not(None), orm.Spawner.started.is_not(None))
    if user is not None:
        asked = asked.where(orm.Spawner.user.has(name=user))
    return [
        Server(
            user=spawner.user.name,
            name=spawner.name,
            slug=(spawner.user_options or {}).get("profile", ""),
            started=_utc(spawner.started),
            last_activity=_utc(spawner.last_activity or spawner.started),
        )
        for spawner in db.scalars(asked)
    ]


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC)


def verdict(server: Server, lifetime: Lifetime, now: datetime.datetime) -> str:
    """Say why a server is to be stopped now, "" when it is not."""
    if lifetime.age and now - server.started >= lifetime.age:
        return f"it had run for {in_words(lifetime.age)}, as long as a notebook of its kind may"
    idle = now - max(server.last_activity, server.started)
    return f"it had been idle for {in_words(idle)}" if lifetime.idle and idle >= lifetime.idle else ""


def farewell(server: Server, why: str, now: datetime.datetime) -> Announcement:
    """Return what the owner of a stopped server is told, until the next start."""
    text = f"Your notebook was stopped at {now:%Y-%m-%d %H:%M} UTC: {why}."
    return Announcement(farewell_name(server.user, server.name), text, users=(server.user,))


def farewell_name(user: str, server: str) -> str:
    """Return the name of that announcement."""
    return f"stopped-{service_name(user, server)}"


def warnings(db: Session, settings: Settings, user: str, now: datetime.datetime) -> list[Announcement]:
    """Return what the owner of servers that may not run for much longer is told.

    It begins when a tenth of the lifetime is left, an hour before the end at the latest.
    """
    told = []
    for server in servers(db, user):
        age = Lifetime.of(settings, server.slug).age
        if age and now >= server.started + age - max(age / 10, datetime.timedelta(hours=1)):
            text = f"Save your work in time: your notebook may run for {in_words(age)}."
            told.append(Announcement(f"ends-{service_name(user, server.name)}", text, server.started + age, (user,)))
    return told
