"""What the hub tells people on its pages and on those of their notebooks, and its maintenance mode.

A table of the hub's database: what was said stays said when the hub is started again. The API is for whoever may stop
everybody's servers (scope admin:servers):

    GET    /hub/api/announcements
    PUT    /hub/api/announcements/NAME    {"text": …, "until": …, "users": […], "maintenance": …}
    DELETE /hub/api/announcements/NAME

A notebook's server asks with its own token, which may do little more, for what its user is told:

    GET    /hub/api/user/announcements
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

import sqlalchemy as sa
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.user import User
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tornado import web

from swarmhub_hub.scoped import ScopedHandler

ADMIN_SCOPE = "admin:servers"
#: What a notebook's own token may do.
REPORT = "users:activity"
TEXT_LENGTH = 1000
#: By this announcement, which is for nobody, upgrade.yml says that the database is dumped.
UPGRADE = "upgrade-db"
KEYS = {"text", "until", "users", "maintenance"}


class _Base(DeclarativeBase):
    pass


class Row(_Base):
    """One announcement; ``until`` is in Unix seconds, ``users`` a JSON list."""

    __tablename__ = "swarmhub_announcements"

    name: Mapped[str] = mapped_column(sa.Unicode(255), primary_key=True)
    text: Mapped[str] = mapped_column(sa.Unicode(TEXT_LENGTH))
    until: Mapped[float | None] = mapped_column(sa.Double())  # MySQL's FLOAT would be minutes off
    users: Mapped[str | None] = mapped_column(sa.UnicodeText())
    maintenance: Mapped[bool]


@dataclasses.dataclass(frozen=True)
class Announcement:
    """A text for the hub's pages.

    Attributes:
        name: by which it is replaced and taken back.
        text: plain text.
        until: when it ends by itself, with a time zone; None for never.
        users: whom it is for; None for everybody, those included who have not signed in.
        maintenance: as long as it lasts, only administrators start servers.
    """

    name: str
    text: str
    until: datetime.datetime | None = None
    users: tuple[str, ...] | None = None
    maintenance: bool = False

    @classmethod
    def parse(cls, name: str, body: t.Any) -> Announcement:
        """Return what the body of a PUT says.

        Raises:
            ValueError: a key is missing, unknown or wrong.
        """
        given = body if isinstance(body, dict) else {}
        text = str(given.get("text") or "").strip()
        users, maintenance = given.get("users"), given.get("maintenance", False)
        listed = users is None or (isinstance(users, list) and all(isinstance(user, str) for user in users))
        checks = [
            (0 < len(text) <= TEXT_LENGTH, f"text: write 1 to {TEXT_LENGTH} characters"),
            (listed, "users: write a list of names, or leave it out for everybody"),
            (isinstance(maintenance, bool), "maintenance: write true or false"),
            (not maintenance or users is None, "maintenance: concerns everybody; leave users out"),
            *((False, f"{key}: is no key of an announcement") for key in sorted(given.keys() - KEYS)),
        ]
        if wrong := [words for right, words in checks if not right]:
            raise ValueError("; ".join(wrong))
        return cls(name, text, _time(given.get("until")), None if users is None else tuple(users), maintenance)

    def as_json(self) -> dict[str, t.Any]:
        """Return what `parse` takes, and the name."""
        return {**dataclasses.asdict(self), "until": self.until.isoformat() if self.until else None}


def _time(value: t.Any) -> datetime.datetime | None:
    if value is None:
        return None
    try:
        moment: datetime.datetime | None = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"until: is {value!r}; write a time with its zone such as 2026-01-31T18:00:00+00:00")
    return moment


class Announcements:
    """The announcements of one hub."""

    def __init__(self, db: Session) -> None:
        """Make the table where it is missing."""
        self._db = db
        _Base.metadata.create_all(db.get_bind(), checkfirst=True)

    def current(self) -> list[Announcement]:
        """Return those that have not ended, by name; the others are deleted."""
        now = datetime.datetime.now(datetime.UTC).timestamp()
        rows = self._db.scalars(sa.select(Row).order_by(Row.name)).all()
        ended = [row for row in rows if row.until is not None and row.until <= now]
        if ended:
            for row in ended:
                self._db.delete(row)
            self._db.commit()
        return [_announcement(row) for row in rows if row not in ended]

    def shown_to(self, user: t.Any) -> list[Announcement]:
        """Return what a page shows to a JupyterHub user, or to None, who has not signed in."""
        name = getattr(user, "name", None)
        return [each for each in self.current() if each.users is None or name in each.users]

    def maintenance(self) -> Announcement | None:
        """Return the announcement that keeps people from starting servers."""
        return next((each for each in self.current() if each.maintenance), None)

    def put(self, announcement: Announcement) -> None:
        """Say it, in the place of one of the same name."""
        until = announcement.until.timestamp() if announcement.until else None
        users = None if announcement.users is None else json.dumps(announcement.users)
        name, text, maintenance = announcement.name, announcement.text, announcement.maintenance
        self._db.merge(Row(name=name, text=text, until=until, users=users, maintenance=maintenance))
        self._db.commit()

    def take_back(self, name: str) -> bool:
        """Say it no more; return whether it was said."""
        row = self._db.get(Row, name)
        if row is not None:
            self._db.delete(row)
            self._db.commit()
        return row is not None

    def forget_user(self, user: str) -> None:
        """Say nothing more to a user who is being removed, nor to a later one of that name."""
        for each in self.current():
            if each.users and user in each.users:
                others = tuple(name for name in each.users if name != user)
                if others:
                    self.put(dataclasses.replace(each, users=others))
                else:
                    self.take_back(each.name)


def may_upgrade(db_url: str, arguments: dict[str, t.Any]) -> bool:
    """Tell whether playbooks/upgrade.yml lets the hub upgrade its database, of whatever schema that is.

    Args:
        arguments: SQLAlchemy's engine arguments.
    """
    engine = sa.create_engine(db_url, **arguments)
    try:
        if not sa.inspect(engine).has_table(Row.__tablename__):
            return False
        with Session(engine) as db:
            return db.get(Row, UPGRADE) is not None
    finally:
        engine.dispose()


def _announcement(row: Row) -> Announcement:
    until = None if row.until is None else datetime.datetime.fromtimestamp(row.until, datetime.UTC)
    users = None if row.users is None else tuple(json.loads(row.users))
    return Announcement(row.name, row.text, until, users, row.maintenance)


class AnnouncementsHandler(ScopedHandler):
    """See the module."""

    scope = ADMIN_SCOPE

    def initialize(self, announcements: Announcements) -> None:
        """Keep what the app gives."""
        self._announcements = announcements

    def get(self, name: str | None = None) -> None:
        """Return all, or one."""
        found = [each.as_json() for each in self._announcements.current() if name in (None, each.name)]
        if name and not found:
            raise web.HTTPError(404)
        self.write(json.dumps(found[0] if name else found))

    def put(self, name: str | None = None) -> None:
        """Say it."""
        if not name:
            raise web.HTTPError(405)
        try:
            announcement = Announcement.parse(name, self.get_json_body())
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from error
        self._announcements.put(announcement)
        self.log.info("Announced %s: %s", name, announcement.text)
        self.write(json.dumps(announcement.as_json()))

    def delete(self, name: str | None = None) -> None:
        """Take it back."""
        if not name:
            raise web.HTTPError(405)
        if not self._announcements.take_back(name):
            raise web.HTTPError(404)
        self.set_status(204)


class ToldHandler(APIHandler):
    """What the pages tell the user who asks; for whom else it is, is nobody's business.

    A notebook's own token may report its user's activity. That of a visitor, which a notebook gets as well, may not.
    """

    def initialize(self, told: t.Callable[[User], list[Announcement]]) -> None:
        """Keep what the app gives."""
        self._told = told

    def get(self) -> None:
        """Return the list; a service is nobody that anything is told."""
        user = self.current_user
        if not isinstance(user, User) or not {REPORT, f"{REPORT}!user={user.name}"} & self.expanded_scopes:
            raise web.HTTPError(403)
        told = [each.as_json() for each in self._told(user)]
        self.write(json.dumps([{key: value for key, value in each.items() if key != "users"} for each in told]))
