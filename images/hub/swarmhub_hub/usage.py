"""Hours of cards: who has held how many in the last 30 days, and who may hold more.

A table of the hub's database with one row for each task of the swarm that holds or has held cards, written from the
swarm's own list of tasks. A hub that was away finds its notebooks' tasks there still, with the time of their end where
they have ended, since nobody but the hub takes services away. Held is what counts, not what was done with it; a card
that several notebooks share is held by none. A group's hours are those of the people who are in it now. Those of a user
who was removed stay in the table of all, under a name that is nobody's.
"""

from __future__ import annotations

import datetime
import typing as t
from collections import defaultdict

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from swarmhub_hub import tasks
from swarmhub_hub.nodes import USER_LABEL, held_cards
from swarmhub_hub.settings import Settings

INTERVAL = 60
DAYS = 30
WINDOW = DAYS * 86400
HOUR = 3600
#: JupyterHub takes no name with a slash.
FORMER = "/former"


class _Base(DeclarativeBase):
    pass


class Row(_Base):
    """Cards that a task held, since when and until when, in Unix seconds; the latter moves on while it holds them."""

    __tablename__ = "swarmhub_gpu_usage"

    task_id: Mapped[str] = mapped_column(sa.Unicode(64), primary_key=True)
    user_name: Mapped[str] = mapped_column(sa.Unicode(255))
    cards: Mapped[int]
    since: Mapped[float] = mapped_column(sa.Double())  # MySQL's FLOAT would be minutes off
    until: Mapped[float] = mapped_column(sa.Double())


class Usage:
    """The hours of cards of one hub's users."""

    def __init__(self, db: Session, settings: Settings) -> None:
        """Make the table where it is missing."""
        self._db, self._settings = db, settings
        _Base.metadata.create_all(db.get_bind(), checkfirst=True)

    def note(self, all_tasks: t.Iterable[tasks.Task], now: float) -> None:
        """Write down what is held now, or has been held by tasks that are still listed.

        Args:
            all_tasks: what GET /tasks returns.
            now: in Unix seconds.

        Raises:
            SQLAlchemyError: the database failed; nothing was written.
        """
        self._db.execute(sa.delete(Row).where(Row.until < now - WINDOW))
        holding = {task["ID"]: (task, user) for task in all_tasks if held_cards(task) and (user := _user(task))}
        known = {row.task_id: row for row in self._db.scalars(sa.select(Row).where(Row.task_id.in_(holding)))}
        for task_id, (task, user) in holding.items():
            # The clocks of managers and nodes may be a little ahead of ours.
            until = min(now if tasks.is_alive(task) else _seconds(task["Status"]["Timestamp"]), now)
            if row := known.get(task_id):
                row.until = max(row.until, until)
            elif until > now - WINDOW:
                since, cards = min(_seconds(task["CreatedAt"]), until), len(held_cards(task))
                self._db.add(Row(task_id=task_id, user_name=user, cards=cards, since=since, until=until))
        self._db.commit()

    def forget_user(self, user: str) -> None:
        """Charge the hours of a user who is being removed to nobody who comes later, by that name or another."""
        former = user[: Row.user_name.type.length - len(FORMER)] + FORMER
        self._db.execute(sa.update(Row).where(Row.user_name == user).values(user_name=former))
        self._db.commit()

    def hours(self, now: float, users: t.Collection[str] | None = None) -> dict[str, float]:
        """Return the hours of the last 30 days, of everybody who has some or of ``users`` alone."""
        return _hours(self._rows(now, users), now)

    def members(self, group: str) -> set[str]:
        """Return who is in a group."""
        found = orm.Group.find(self._db, group)
        return {user.name for user in found.users} if found else set()

    def refusal(self, user: str, groups: t.Collection[str], now: float) -> str:
        """Say why a user may start nothing with cards now, "" when they may."""
        allowed = self._settings.user_gpu_hours
        if allowed and (words := self._used_up({user}, allowed, now)):
            return f"you have used {words}"
        for group in sorted(self._settings.group_gpu_hours.keys() & set(groups)):
            allowed = self._settings.group_gpu_hours[group]
            if allowed and (words := self._used_up(self.members(group), allowed, now)):
                return f"your group {group} has used {words}"
        return ""

    def _used_up(self, users: t.Collection[str], allowed: int, now: float) -> str:
        rows = self._rows(now, users)
        used = sum(_hours(rows, now).values())
        if used < allowed:
            return ""
        # Sooner or later all of it lies more than 30 days back; this is the first minute at which enough does.
        early, late = 0, WINDOW // 60
        while early < late:
            middle = (early + late) // 2
            enough = sum(_hours(rows, now + middle * 60).values()) < allowed
            early, late = (early, middle) if enough else (middle + 1, late)
        free = datetime.datetime.fromtimestamp(now + early * 60, datetime.UTC)
        return (
            f"{used:.1f} hours of cards in the last {DAYS} days, and {allowed} are allowed; "
            f"the first are free again on {free:%Y-%m-%d at %H:%M} UTC."
        )

    def _rows(self, now: float, users: t.Collection[str] | None) -> t.Sequence[Row]:
        asked = sa.select(Row).where(Row.until > now - WINDOW)
        return self._db.scalars(asked if users is None else asked.where(Row.user_name.in_(users))).all()


def _hours(rows: t.Iterable[Row], now: float) -> dict[str, float]:
    seconds: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        seconds[row.user_name] += row.cards * max(row.until - max(row.since, now - WINDOW), 0)
    return {user: spent / HOUR for user, spent in seconds.items()}


def _user(task: tasks.Task) -> str:
    labels = (task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
    return str(labels.get(USER_LABEL, ""))


def _seconds(stamp: str) -> float:
    return tasks.moment(stamp).timestamp()
