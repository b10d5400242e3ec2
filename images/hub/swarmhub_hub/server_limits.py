"""How many servers the members of a group may have at a time."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.orm import Session


def servers_refusal(db: Session, limits: t.Mapping[str, int], asking: orm.Spawner, groups: t.Collection[str]) -> str:
    """Say which limit keeps a user from having a server, "" when none does; 0 is no limit.

    JupyterHub has written the server down by then. Of those who ask at the same moment the first has the last place.

    Args:
        limits: servers at a time, by group.
        asking: whose server it is to be.
        groups: the user's own.
    """
    others = [orm.Spawner.user_id != asking.user_id, orm.Spawner.server_id.is_not(None)]
    if asking.server_id is not None:
        others.append(orm.Spawner.server_id < asking.server_id)
    for group in sorted(limits.keys() & set(groups)):
        asked = sa.select(sa.func.count()).select_from(orm.Spawner).join(orm.Spawner.user)
        count = db.scalar(asked.where(orm.User.groups.any(name=group), *others)) or 0
        if 0 < limits[group] <= count:
            return f"your group {group} has {count} of the {limits[group]} notebooks that it may have at a time."
    return ""
