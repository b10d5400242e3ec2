"""The page of nodes and cards, for everybody who has signed in: /hub/cluster.

Who holds which card, since when, and for how long the hub has heard nothing of the notebook; administrators also see
cores, memory and who waits. All of it is read from the swarm's own lists; nothing runs on the nodes for it.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import sqlalchemy as sa
from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from tornado import web

from swarmhub_hub import tasks
from swarmhub_hub.availability import ClusterLook, Seen
from swarmhub_hub.docker_calls import DockerFailure
from swarmhub_hub.nodes import SHARED_CARD_LABEL, USER_LABEL, Node, advertised, held_cards, is_cards
from swarmhub_hub.queue import Queue
from swarmhub_hub.spans import in_words

PROFILE_LABEL, SERVER_LABEL = "swarmhub.profile", "swarmhub.server"
GIB = 2**30

#: The hub hears of activity every few minutes: who was active within this time is not said to be idle.
HEARD = datetime.timedelta(minutes=10)
#: When a server was last active, by user and server.
Activity = t.Mapping[tuple[str, str], datetime.datetime]


@dataclasses.dataclass(frozen=True)
class Holder:
    """Whose notebook it is that holds a card.

    Attributes:
        user, profile: from the notebook's labels; "" for what is no notebook of ours.
        since: when its task was made.
        idle: for how long the hub has not heard of any activity; None for one that is active, or unknown.
    """

    user: str
    profile: str
    since: datetime.datetime
    idle: datetime.timedelta | None


@dataclasses.dataclass
class Card:
    """A card, or a part of one (MIG); several hold it only where it is shared."""

    uuid: str
    kind: str
    shared: bool = False
    holders: list[Holder] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Machine:
    """A node as the page shows it.

    Attributes:
        node: what it has, and what of it is free.
        state: ready, paused, drained or down.
        cards: in the order of their UUIDs, shared ones last.
        notebooks: how many run there, those without cards among them.
    """

    node: Node
    state: str
    cards: list[Card]
    notebooks: int = 0

    @property
    def free(self) -> int:
        """How many of its cards nobody holds; of a node that takes no notebooks none."""
        return sum(not card.holders for card in self.cards if not card.shared) if self.node.available else 0


def machines(seen: Seen, activity: Activity, now: datetime.datetime) -> list[Machine]:
    """Return the nodes, those with cards first, by name."""
    shown: dict[str, Machine] = {}
    availability = {node["ID"]: node["Spec"]["Availability"] for node in seen.nodes}
    offered = {node["ID"]: advertised(node) for node in seen.nodes}
    for node in seen.holdings().nodes:
        cards = [Card(uuid, kind) for kind, uuid in sorted(offered[node.node_id]) if is_cards(kind)]
        cards += [Card(uuid, "shared", shared=True) for uuid in sorted(node.shared)]
        shown[node.node_id] = Machine(node, _state(node, availability[node.node_id]), cards)
    for task in seen.tasks:
        machine = shown.get(task.get("NodeID", ""))
        if machine is None or tasks.has_ended(task):
            continue
        labels = (task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
        user = labels.get(USER_LABEL, "")
        machine.notebooks += bool(user)
        idle = now - activity.get((user, labels.get(SERVER_LABEL, "")), now)
        since = tasks.moment(task["CreatedAt"])
        holder = Holder(user, labels.get(PROFILE_LABEL, ""), since, idle if idle > HEARD else None)
        held = {uuid for _, uuid in held_cards(task)} | {labels.get(SHARED_CARD_LABEL, "")}
        for card in machine.cards:
            if card.uuid in held:
                card.holders.append(holder)
    return sorted(shown.values(), key=lambda machine: (not machine.cards, machine.node.hostname))


def _state(node: Node, availability: str) -> str:
    if not node.reachable:
        return "down"
    if availability == "active":
        return "ready" if node.available else "not ready"
    return {"pause": "takes no new notebooks", "drain": "out of service"}[availability]


class ClusterHandler(BaseHandler):
    """See the module."""

    def initialize(self, look: ClusterLook, queue: Queue) -> None:
        """Keep what the app gives."""
        self._look, self._queue = look, queue

    @web.authenticated
    async def get(self) -> None:
        """Show the page."""
        now = datetime.datetime.now(datetime.UTC)
        try:
            shown = machines(await self._look(), self._activity(), now)
        except DockerFailure as error:
            raise web.HTTPError(503, "The swarm gives no answer now.") from error
        self.set_header("Cache-Control", "no-store")
        self.finish(
            await self.render_template(
                "cluster.html",
                machines=shown,
                waiting=[
                    {"user": each.user, "profile": each.profile.display_name, "words": each.words}
                    for each in self._queue.those_who_wait()
                ],
                sees_all="admin-ui" in self.parsed_scopes,
                now=now,
                in_words=in_words,
                gib=GIB,
            )
        )

    def _activity(self) -> Activity:
        asked = sa.select(orm.User.name, orm.Spawner.name, orm.Spawner.last_activity).join(orm.Spawner.user)
        rows = self.db.execute(asked.where(orm.Spawner.last_activity.is_not(None)))
        return {(user, server): active.replace(tzinfo=datetime.UTC) for user, server, active in rows}
