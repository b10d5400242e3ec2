"""What one node of a swarm is to be, against what it is."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

Json = dict[str, t.Any]

# On a node that we emptied for a restart: the availability to give back. A drain without it is somebody else's.
DRAINED_FROM = "swarmhub.drained_from"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What one node is to be.

    Attributes:
        node_id: id that the host itself reports.
        name: inventory name, for messages and results.
        labels: wanted labels, where a ``None`` value takes the label away; ``None`` instead of them leaves all.
        role: ``manager``, ``worker`` or ``None`` (as it is).
        availability: ``active``, ``pause``, ``drain`` or ``None`` (as it is).
        for_restart: ``pause`` or ``drain`` because the node is about to be restarted; ``over`` gives back what it was.
        generic_resources: ids by kind that the node must advertise, such as ``{"GPU": ["GPU-…"]}``.
        present: whether the swarm is to have the node at all.
        left: whether the host of a node that is to go has left by itself.
    """

    node_id: str
    name: str
    labels: dict[str, t.Any] | None
    role: str | None
    availability: str | None
    generic_resources: dict[str, list[str]]
    for_restart: str | None = None
    present: bool = True
    left: bool = False

    @classmethod
    def parse(cls, node: Json) -> Wish:
        """Read one entry of the module's ``nodes``; of one that is to go only its vote as a manager matters."""
        present = node.get("state", "present") == "present"
        return cls(
            node_id=node["node_id"],
            name=node["name"],
            present=present,
            left=bool(node.get("left")),
            labels=node.get("labels"),
            role=node.get("role") if present else "worker",
            availability=node.get("availability"),
            generic_resources=node.get("generic_resources") or {},
            for_restart=node.get("for_restart"),
        )

    def applied(self, spec: Json, *, exact: bool) -> Json:
        """Return the node's spec as wanted; what the wish does not speak of stays."""
        spec = copy.deepcopy(spec)
        if self.labels is not None:
            kept = {} if exact else spec.get("Labels") or {}
            ours = {key: value for key, value in labels(spec).items() if key == DRAINED_FROM}
            merged = {**kept, **self.labels, **ours}
            spec["Labels"] = {key: as_label(value) for key, value in merged.items() if value is not None}
        if self.role:
            spec["Role"] = self.role
        if self.availability:
            spec["Availability"] = self.availability
            # What somebody asks for by name is not given back to anything.
            spec["Labels"] = {key: value for key, value in labels(spec).items() if key != DRAINED_FROM}
        if self.for_restart:
            _empty_for_restart(spec, self.for_restart)
        return spec


def _empty_for_restart(spec: Json, step: str) -> None:
    """Pause or drain a node and mark that it is ours, or give back what it was; somebody else's drain stays."""
    before: str = spec["Availability"]
    marks = dict(labels(spec))
    if step == "over":
        given = marks.pop(DRAINED_FROM, before)
        # One that is active again was given back by somebody else.
        spec["Availability"] = given if before != "active" else before
    elif before != "drain":
        # A mark on a node that is active was left behind, and says nothing any more.
        marks[DRAINED_FROM] = before if before == "active" else marks.get(DRAINED_FROM, before)
        spec["Availability"] = step
    spec["Labels"] = marks


class Change:
    """A node on its way from ``before`` to ``after``, both node specs of the Engine API."""

    def __init__(self, wish: Wish, node: Json, *, exact: bool) -> None:
        self.wish = wish
        self.node = node
        self.before: Json = node["Spec"]
        self.after = wish.applied(self.before, exact=exact)
        self._exact = exact

    def apply(self, spec: Json) -> Json:
        """Return a newer spec of the same node as wanted."""
        return self.wish.applied(spec, exact=self._exact)

    @property
    def needed(self) -> bool:
        """Whether anything differs."""
        return view(self.before) != view(self.after)

    @property
    def relabels(self) -> bool:
        """Whether a label differs."""
        return labels(self.before) != labels(self.after)

    @property
    def new_role(self) -> str:
        """The role that the node gets, or an empty string when it keeps its own."""
        return self.after["Role"] if self.after["Role"] != self.before["Role"] else ""

    @property
    def drains(self) -> bool:
        """Whether the node is drained by this change."""
        return bool(self.after["Availability"] == "drain" != self.before["Availability"])


def as_label(value: t.Any) -> str:
    """Labels are text; YAML's true and 1 become what people write in constraints."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def labels(spec: Json) -> dict[str, str]:
    """Return the labels of a node's spec."""
    return spec.get("Labels") or {}


def view(spec: Json) -> Json:
    """Return the part of a node's spec that is ours to settle."""
    return {"labels": labels(spec), "role": spec["Role"], "availability": spec["Availability"]}


def hostname(node: Json) -> str:
    """Return the host name that the node's engine reports."""
    return str(node["Description"]["Hostname"])


def reachable(node: Json) -> bool:
    """Whether the node is a manager that the other managers reach."""
    return (node.get("ManagerStatus") or {}).get("Reachability") == "reachable"
