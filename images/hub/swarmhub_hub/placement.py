"""Who gets which cards where: pure rules.

Small jobs go where they leave the least free, so that whole workstations stay free for big ones. Who came first is
served first; while somebody waits for more cards than are free, later and smaller wishes may overtake, until that has
lasted `backfill` seconds: then the node that is closest to having room is kept for the one who waits.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections import Counter

from swarmhub_hub.nodes import Holdings, Node
from swarmhub_hub.settings import Profile


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a notebook goes: the node, the kind of its cards, and which it is when it is shared."""

    node_id: str
    hostname: str
    kind: str
    shared: str = ""


@dataclasses.dataclass(frozen=True)
class Wish:
    """One start that asks for cards.

    Attributes:
        number: its place in the queue; lower ones came first.
        user, groups: whose it is.
        profile: what is to be started.
        since: when it was asked for, in Unix seconds.
        node_id: the one node that an administrator chose, "" for any.
        avoid: nodes that turned out not to have room just now.
    """

    number: int
    user: str
    groups: frozenset[str]
    profile: Profile
    since: float
    node_id: str = ""
    avoid: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many cards may be held at the same time; 0 is no limit, and so is a missing group.

    Attributes:
        per_user: by one person.
        per_group: by all members of a group together.
        members: the members of each group that has a limit.
    """

    per_user: int
    per_group: t.Mapping[str, int]
    members: t.Mapping[str, t.Collection[str]]

    def reached(self, wish: Wish, held: Counter[str]) -> str:
        """Say which limit keeps a wish waiting, "" when none does."""
        cards = 0 if wish.profile.gpu_shared else wish.profile.gpus
        if cards and self.per_user and held[wish.user] + cards > self.per_user:
            return f"you hold {_cards(held[wish.user])}, and {self.per_user} are allowed"
        for group in sorted(wish.groups & self.per_group.keys()):
            together = sum(held[member] for member in self.members.get(group, ()))
            if cards and 0 < self.per_group[group] < together + cards:
                return f"your group {group} holds {together} of the {self.per_group[group]} cards that it may have"
        return ""

    def refusal(self, wish: Wish) -> str:
        """Say why a wish can never be granted, "" when it can."""
        cards = 0 if wish.profile.gpu_shared else wish.profile.gpus
        if self.per_user and cards > self.per_user:
            return f"{_cards(cards)} at a time are more than the {self.per_user} that a person may hold"
        for group in sorted(wish.groups & self.per_group.keys()):
            if 0 < self.per_group[group] < cards:
                return (
                    f"{_cards(cards)} at a time are more than the {self.per_group[group]} that group {group} may hold"
                )
        return ""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the queue is to do now: places by the wishes' numbers, and for the others what each waits for."""

    places: t.Mapping[int, Place]
    waits: t.Mapping[int, str]


def decide(wishes: t.Sequence[Wish], holdings: Holdings, limits: Limits, now: float, backfill: float) -> Decision:
    """Give places to the wishes, in their order; the nodes in ``holdings`` are used up on the way."""
    places: dict[int, Place] = {}
    waits: dict[int, str] = {}
    kept: set[tuple[str, str]] = set()
    for wish in wishes:
        if limit := limits.reached(wish, holdings.by_user):
            waits[wish.number] = f"{_asked(wish)}: {limit}"
            continue
        if place := _choose(wish, holdings.nodes, kept):
            places[wish.number] = place
            _take(wish, place, holdings)
            continue
        if now - wish.since >= backfill and (closest := _closest(wish, holdings.nodes, kept)):
            kept.add(closest)
        waits[wish.number] = _words(wish, wishes, holdings, waits)
    return Decision(places, waits)


def impossible(wish: Wish, holdings: Holdings) -> str:
    """Say why no node, however empty, could take a wish; "" when one could."""
    profile = wish.profile
    able = _able(wish, holdings.nodes)
    if any(most >= profile.gpus and _is_big_enough(node, profile) for node, _, most in able):
        return ""
    if not able:
        return f"no node that the profile fits has {_what(profile)}"
    if any(most >= profile.gpus for _, _, most in able):
        return f"no node with {_what(profile)} has the cores and the memory that the profile sets aside"
    return f"{_asked(wish)} at once, and no node that the profile fits has more than {max(m for _, _, m in able)}"


def _is_big_enough(node: Node, profile: Profile) -> bool:
    return (profile.cpu_guarantee or 0) * 10**9 <= node.all_cpus and (profile.mem_guarantee or 0) <= node.all_memory


def _has_room(node: Node, profile: Profile) -> bool:
    return (profile.cpu_guarantee or 0) * 10**9 <= node.cpus and (profile.mem_guarantee or 0) <= node.memory


def _choose(wish: Wish, nodes: t.Iterable[Node], kept: t.Container[tuple[str, str]]) -> Place | None:
    """Return the place that leaves the fewest cards free on its node, or the card that the fewest notebooks share.

    ``kept``: pairs of node and kind that are kept for somebody else.
    """
    profile = wish.profile
    able = [
        (node, kind, most)
        for node, kind, most in _able(wish, nodes)
        if most >= profile.gpus
        and node.available
        and node.node_id not in wish.avoid
        and (node.node_id, kind) not in kept
        and _has_room(node, profile)
    ]
    if profile.gpu_shared:
        shares = [(uses, uuid, node) for node, _, _ in able for uuid, uses in node.shared.items()]
        _, uuid, place = min(shares, default=(0, "", None), key=lambda share: share[:2])
        return Place(place.node_id, place.hostname, "", uuid) if place else None
    fits = [
        (node.free[kind] - profile.gpus, most, node.node_id, node.hostname, kind)
        for node, kind, most in able
        if node.free[kind] >= profile.gpus
    ]
    _, _, node_id, hostname, kind = min(fits, default=(0, 0, "", "", ""))
    return Place(node_id, hostname, kind) if node_id else None


def able(profile: Profile, nodes: t.Iterable[Node]) -> list[tuple[Node, str, int]]:
    """Return node, kind and number of cards there, of all nodes that have cards that the profile would take."""
    fitting = [node for node in nodes if node.meets(profile.constraints)]
    if profile.gpu_shared:
        return [(node, "", len(node.shared)) for node in fitting if node.shared and _is_model(node, profile.gpu_model)]
    return [(node, kind, node.total[kind]) for node in fitting for kind in node.kinds(profile.gpu_model)]


def _able(wish: Wish, nodes: t.Iterable[Node]) -> list[tuple[Node, str, int]]:
    return able(wish.profile, [node for node in nodes if wish.node_id in ("", node.node_id)])


def _is_model(node: Node, model: str) -> bool:
    return not model or node.labels.get("gpu_model", "").casefold() == model.casefold()


def _closest(wish: Wish, nodes: t.Iterable[Node], kept: t.Container[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the node, and the kind there, that lacks the fewest cards for a wish, of those that could have enough.

    Where cards are free already, and cores, memory or the scheduler say no, keeping them would help nobody.
    """
    candidates = [
        (node.free[kind], node.node_id, kind)
        for node, kind, most in _able(wish, nodes)
        if node.available
        and not wish.profile.gpu_shared
        and (node.node_id, kind) not in kept
        and node.free[kind] < wish.profile.gpus <= most
        and _is_big_enough(node, wish.profile)
    ]
    return max(candidates)[1:] if candidates else None


def _take(wish: Wish, place: Place, holdings: Holdings) -> None:
    node = next(node for node in holdings.nodes if node.node_id == place.node_id)
    node.cpus -= int((wish.profile.cpu_guarantee or 0) * 10**9)
    node.memory -= wish.profile.mem_guarantee or 0
    if place.shared:
        node.shared[place.shared] += 1
        return
    node.free[place.kind] -= wish.profile.gpus
    holdings.by_user[wish.user] += wish.profile.gpus


def _words(wish: Wish, wishes: t.Sequence[Wish], holdings: Holdings, waiting: t.Container[int]) -> str:
    """Say what a wish waits for, and how many are ahead of it for the same cards."""
    if reason := impossible(wish, holdings):
        return f"{_asked(wish)}: {reason}"
    able = _able(wish, holdings.nodes)
    mine = {(node.node_id, kind) for node, kind, _ in able}
    ahead = sum(
        not mine.isdisjoint((node.node_id, kind) for node, kind, _ in _able(other, holdings.nodes))
        for other in wishes
        if other.number < wish.number and other.number in waiting
    )
    if not any(node.available for node, _, _ in able):
        away = ", ".join(sorted({node.hostname for node, _, _ in able}))
        return f"{_asked(wish)}: the nodes that have them are not ready ({away})"
    if wish.profile.gpu_shared:
        return f"{_asked(wish)}: the nodes that have them have no cores or memory left"
    if any(
        node.available and node.free[kind] >= wish.profile.gpus and not _has_room(node, wish.profile)
        for node, kind, _ in able
    ):
        return f"{_asked(wish)}: they are free, but not the cores or the memory beside them"
    free = sum(max(node.free[kind], 0) for node, kind, _ in able if node.available)
    total = sum(most for node, _, most in able if node.available)
    return f"{_asked(wish)}, number {ahead + 1} in the queue: {free} of {total} are free"


def _asked(wish: Wish) -> str:
    return f"Waiting for {_what(wish.profile)}"


def _what(profile: Profile) -> str:
    shared = "shared " if profile.gpu_shared else ""
    model = f" ({profile.gpu_model})" if profile.gpu_model else ""
    return f"{profile.gpus} {shared}card{'s' if profile.gpus > 1 else ''}{model}"


def _cards(number: int) -> str:
    return f"{number} card{'' if number == 1 else 's'}"
