"""How many servers the members of a group may have at a time."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.orm import Session


def servers_refusal(db: Session, limits: t.Mapping[str, int], user: str, groups: t.Collection[str]) -> str:
    """Say which limit keeps a user from having a server, "" when none does; 0 is no limit.

    Args:
        limits: servers at a time, by group.
        groups: the user's own.
    """
    for group in sorted(limits.keys() & set(groups)):
        asked = sa.select(sa.func.count()).select_from(orm.Spawner).join(orm.Spawner.user)
        asked = asked.where(orm.User.groups.any(name=group), orm.User.name != user, orm.Spawner.server_id.is_not(None))
        count = db.scalar(asked) or 0
        if 0 < limits[group] <= count:
            return f"your group {group} has {count} of the {limits[group]} notebooks that it may have at a time."
    return ""
