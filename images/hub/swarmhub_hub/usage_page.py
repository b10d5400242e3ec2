"""The page of hours of cards: /hub/usage, and /hub/usage?format=csv for spreadsheets.

Everybody sees their own hours and their groups'; administrators see all.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import time
import typing as t

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from tornado import web

from swarmhub_hub.settings import Settings
from swarmhub_hub.usage import DAYS, Usage


@dataclasses.dataclass(frozen=True)
class Line:
    """A user or a group, the hours of the last 30 days, and how many are allowed, 0 for any number."""

    kind: str
    name: str
    hours: float
    allowed: int


def lines(usage: Usage, settings: Settings, users: t.Collection[str] | None, groups: t.Iterable[str]) -> list[Line]:
    """Return the groups, then the users; the most hours first.

    Args:
        users: who is shown; None for everybody who has held cards.
        groups: which groups are shown.
    """
    now = time.time()
    everybody = usage.hours(now)
    shown = everybody.keys() if users is None else users
    told = [Line("user", user, everybody.get(user, 0), settings.user_gpu_hours) for user in shown]
    for group in groups:
        hours = sum(everybody.get(member, 0) for member in usage.members(group))
        told.append(Line("group", group, hours, settings.group_gpu_hours.get(group, 0)))
    return sorted(told, key=lambda line: (line.kind, -line.hours, line.name))


def as_csv(table: t.Iterable[Line]) -> str:
    """Return the table with a header; a limit that there is not is empty, and a name is no formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["kind", "name", f"hours_of_cards_in_{DAYS}_days", "allowed"])
    writer.writerows([line.kind, _plain(line.name), f"{line.hours:.2f}", line.allowed or ""] for line in table)
    return text.getvalue()


def _plain(cell: str) -> str:
    """Return a cell that a spreadsheet takes for text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


class UsageHandler(BaseHandler):
    """See the module."""

    def initialize(self, usage: Usage, settings: Settings) -> None:
        """Keep what the app gives."""
        self._usage, self._settings = usage, settings

    @web.authenticated
    async def get(self) -> None:
        """Show the page, or send the file."""
        self.set_header("Cache-Control", "no-store")
        if "admin-ui" in self.parsed_scopes:
            users, groups = None, [group.name for group in self.db.query(orm.Group)]
        else:
            users, groups = [self.current_user.name], [group.name for group in self.current_user.groups]
        table = lines(self._usage, self._settings, users, groups)
        if self.get_query_argument("format", "") == "csv":
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", 'attachment; filename="usage.csv"')
            self.finish(as_csv(table))
        else:
            self.finish(await self.render_template("usage.html", table=table, days=DAYS))
