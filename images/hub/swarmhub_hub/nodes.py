"""What the nodes have, and what of it is free, read from the Engine API's own lists of nodes, tasks and services.

A card is held by every task that has not ended, a stopping one included, since its container still has it. A service
of ours that the scheduler has not seen yet holds its cards on the node that it is pinned to.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections import Counter

from swarmhub_hub import tasks

Json = t.Mapping[str, t.Any]

GPU_KIND = "GPU"
SHARED_CARD_LABEL = "swarmhub.gpu_shared"
USER_LABEL = "swarmhub.user"
# https://github.com/moby/swarmkit/blob/master/manager/constraint/constraint.go: values compare without regard to case.
_CONSTRAINT = re.compile(r"\s*([\w.-]+?)\s*(==|!=)\s*(.*?)\s*")
_PIN = re.compile(r"node\.id\s*==\s*(\w+)")


def kind_of(model: str) -> str:
    """Return the kind under which a host that mixes models advertises ``model`` (a slug; mig-… for a MIG instance)."""
    name = model.upper().replace("-", "_")
    return name if name.startswith("MIG_") else f"{GPU_KIND}_{name}"


def is_whole_card(kind: str) -> bool:
    """Tell whether a kind of generic resource is whole cards; the others are MIG instances, or none of ours."""
    return kind == GPU_KIND or kind.startswith(f"{GPU_KIND}_")


def is_cards(kind: str) -> bool:
    """Tell whether a kind of generic resource is cards or parts of them."""
    return is_whole_card(kind) or kind.startswith("MIG_")


@dataclasses.dataclass
class Node:
    """A node as the choice of a place sees it; ``free``, ``cpus`` and ``memory`` shrink while places are given away.

    Attributes:
        node_id, hostname: as in the swarm.
        reachable, available: not down; ready and active.
        labels: the node's labels.
        values: what constraints can ask for besides labels, by key.
        total, free: cards by kind.
        cpus, memory: what is not reserved, in 1e-9 cores and bytes.
        all_cpus, all_memory: what the node has of them.
        shared: notebooks by UUID of the cards that are kept out of the pool.
    """

    node_id: str
    hostname: str
    reachable: bool
    available: bool
    labels: t.Mapping[str, str]
    values: t.Mapping[str, str]
    total: Counter[str]
    free: Counter[str]
    cpus: int
    memory: int
    all_cpus: int
    all_memory: int
    shared: Counter[str]

    def meets(self, constraints: t.Iterable[str]) -> bool:
        """Tell whether the node meets all constraints; a missing label is empty."""
        for constraint in constraints:
            match = _CONSTRAINT.fullmatch(constraint)
            if not match:
                return False
            key, operator, wanted = match.groups()
            label = key.removeprefix("node.labels.")
            value = self.labels.get(label, "") if label != key else self.values.get(key, "")
            if (value.casefold() == wanted.casefold()) is not (operator == "=="):
                return False
        return True

    def kinds(self, model: str) -> list[str]:
        """Return the kinds that are cards of ``model`` here; for "" those of whole cards, whatever their model."""
        if not model:
            return [kind for kind in self.total if is_whole_card(kind)]
        if kind_of(model) in self.total:
            return [kind_of(model)]
        one_model = self.labels.get("gpu_model", "").casefold() == model.casefold()
        return [GPU_KIND] if one_model and GPU_KIND in self.total else []


@dataclasses.dataclass(frozen=True)
class Holdings:
    """The cluster at one moment: its nodes, and how many cards each person holds."""

    nodes: list[Node]
    by_user: Counter[str]

    def kinds(self) -> list[str]:
        """Return all kinds of cards in the cluster, sorted; GPU is always among them."""
        return card_kinds(kind for node in self.nodes for kind in node.total)


def card_kinds(kinds: t.Iterable[str]) -> list[str]:
    """Return the kinds that are cards, sorted; GPU is always among them."""
    return sorted({GPU_KIND, *(kind for kind in kinds if is_cards(kind))})


def advertised(node: Json) -> list[tuple[str, str]]:
    """Return the named generic resources of a node as pairs of kind and id."""
    return _named((node.get("Description") or {}).get("Resources") or {})


def held_cards(task: Json) -> list[tuple[str, str]]:
    """Return the cards that the swarm has assigned to a task, as pairs of kind and id."""
    return [(kind, uuid) for kind, uuid in _named(task) if is_cards(kind)]


def read_holdings(nodes: t.Iterable[Json], all_tasks: t.Iterable[Json], services: t.Iterable[Json]) -> Holdings:
    """Work out what is free.

    Args:
        nodes, all_tasks: what GET /nodes and GET /tasks return.
        services: what GET /services returns, our own only.
    """
    by_id = {node["ID"]: _read_node(node) for node in nodes}
    by_user: Counter[str] = Counter()
    seen: set[str] = set()
    for task in all_tasks:
        node = by_id.get(task.get("NodeID", ""))
        if node is None and not tasks.has_ended(task):
            continue  # not assigned yet: its service tells where it will be
        seen.add(task.get("ServiceID", ""))
        if node is None or tasks.has_ended(task):
            continue
        cards = Counter(kind for kind, _ in held_cards(task))
        labels = (task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
        _hold(node, cards, task["Spec"], labels)
        # A node that is down cannot confirm that a notebook has ended; its user has lost it all the same.
        if tasks.is_alive(task) or node.reachable:
            by_user[labels.get(USER_LABEL, "")] += cards.total()
    for service in services:
        spec = service["Spec"]["TaskTemplate"]
        node = by_id.get(_pinned_to(spec))
        if node is None or service["ID"] in seen:
            continue
        cards = _reserved_cards(spec)
        labels = service["Spec"].get("Labels") or {}
        _hold(node, cards, spec, labels)
        by_user[labels.get(USER_LABEL, "")] += cards.total()
    return Holdings(list(by_id.values()), by_user)


def _read_node(node: Json) -> Node:
    # A node that is about to join has no description yet.
    description, spec, status = node.get("Description") or {}, node["Spec"], node["Status"]
    resources = description.get("Resources") or {}
    labels = spec.get("Labels") or {}
    total = Counter(kind for kind, _ in advertised(node))
    # What the engine still hands out is not shared yet, whatever the label says.
    pool = {uuid for _, uuid in advertised(node)}
    platform = description.get("Platform") or {}
    engine_labels = (description.get("Engine") or {}).get("Labels") or {}
    return Node(
        node_id=node["ID"],
        hostname=description.get("Hostname", ""),
        reachable=status["State"] != "down",
        available=status["State"] == "ready" and spec["Availability"] == "active",
        labels=labels,
        values={
            "node.id": node["ID"],
            "node.hostname": description.get("Hostname", ""),
            "node.role": spec["Role"],
            "node.ip": status.get("Addr", ""),
            "node.platform.os": platform.get("OS", ""),
            "node.platform.arch": platform.get("Architecture", ""),
            **{f"engine.labels.{name}": value for name, value in engine_labels.items()},
        },
        total=total,
        free=total.copy(),
        cpus=resources.get("NanoCPUs", 0),
        memory=resources.get("MemoryBytes", 0),
        all_cpus=resources.get("NanoCPUs", 0),
        all_memory=resources.get("MemoryBytes", 0),
        shared=Counter({uuid: 0 for uuid in labels.get("gpu_shared", "").split(",") if uuid and uuid not in pool}),
    )


def _hold(node: Node, cards: Counter[str], spec: Json, labels: Json) -> None:
    reserved = (spec.get("Resources") or {}).get("Reservations") or {}
    node.free.subtract(cards)
    node.cpus -= reserved.get("NanoCPUs", 0)
    node.memory -= reserved.get("MemoryBytes", 0)
    if (uuid := labels.get(SHARED_CARD_LABEL, "")) in node.shared:
        node.shared[uuid] += 1


def _named(holder: Json) -> list[tuple[str, str]]:
    found = [resource.get("NamedResourceSpec") for resource in holder.get("GenericResources") or []]
    return [(named["Kind"], named["Value"]) for named in found if named]


def _reserved_cards(spec: Json) -> Counter[str]:
    reserved = ((spec.get("Resources") or {}).get("Reservations") or {}).get("GenericResources") or []
    wanted = [resource["DiscreteResourceSpec"] for resource in reserved]
    return Counter({each["Kind"]: each["Value"] for each in wanted if is_cards(each["Kind"])})


def _pinned_to(spec: Json) -> str:
    constraints = (spec.get("Placement") or {}).get("Constraints") or []
    return next((match[1] for text in constraints if (match := _PIN.fullmatch(text))), "")
