"""Which nodes of a swarm a profile fits, judged as the scheduler would, from the engine's own node objects."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.swarmhub.card_kinds import kinds_of
from ansible.module_utils.swarmhub.swarm import named_resources

Json = t.Any

# https://github.com/moby/swarmkit/blob/master/manager/constraint/constraint.go
CONSTRAINT = re.compile(r"\s*([\w.-]+?)\s*(==|!=)\s*(.*?)\s*")


def probe_profiles(profiles: t.Iterable[dict[str, Json]], nodes: list[Json]) -> list[dict[str, Json]]:
    """Return hub_probe's ``profiles``: slug, cards, and the host names of the nodes that the profile fits, sorted.

    Args:
        profiles: normalised profiles (``slug``, ``gpus``, ``gpu_model``, ``gpu_shared``, ``constraints``).
        nodes: what the engine's GET /nodes returns.
    """
    return [
        {
            "slug": profile["slug"],
            "gpus": profile.get("gpus", 0),
            "nodes": sorted(node["Description"]["Hostname"] for node in nodes if fits(profile, node)),
        }
        for profile in profiles
    ]


def unproved(rows: t.Iterable[dict[str, Json]], notebooks: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return the rows of probe_profiles for one node without those that people's notebooks there prove already.

    Who waited for cards gets a new node's at once, and one with cards proves every profile that asks for some.

    Args:
        rows: of probe_profiles.
        notebooks: those on the node, as module swarm_notebooks returns them.
    """
    rows = list(rows)
    running = {notebook["profile"] for notebook in notebooks}
    cards_taken = any(row["slug"] in running for row in rows if row["gpus"])
    return [row for row in rows if row["slug"] not in running and not (cards_taken and row["gpus"])]


def fits(profile: dict[str, Json], node: Json) -> bool:
    """Whether the node is ready and active, meets the profile's constraints and has the cards that it asks for."""
    return (
        node["Status"]["State"] == "ready"
        and node["Spec"]["Availability"] == "active"
        and has_cards(profile, node)
        and all(met(constraint, node) for constraint in profile.get("constraints") or [])
    )


def has_cards(profile: dict[str, Json], node: Json) -> bool:
    """Whether the node offers, held or free, as many cards of one kind (and of the model) as the profile asks for."""
    wanted, model = profile.get("gpus", 0), profile.get("gpu_model") or ""
    labels = node["Spec"].get("Labels") or {}
    one_model = labels.get("gpu_model", "")
    if profile.get("gpu_shared"):
        return bool(labels.get("gpu_shared")) and (not model or one_model.casefold() == model.casefold())
    offered = named_resources(node["Description"].get("Resources") or {})
    return not wanted or any(len(offered[kind]) >= wanted for kind in kinds_of(model, offered, one_model))


def met(constraint: str, node: Json) -> bool:
    """Whether the node meets one constraint; a missing label is empty, case does not count, as in swarmkit.

    Raises:
        ValueError: the text is not a constraint of swarm's grammar.
    """
    match = CONSTRAINT.fullmatch(constraint)
    if not match:
        raise ValueError(f"{constraint!r} is not a placement constraint: write key==value or key!=value")
    key, operator, wanted = match.groups()
    return (_value(key, node).lower() == wanted.lower()) is (operator == "==")


def _value(key: str, node: Json) -> str:
    """What the node has under a constraint's key.

    Raises:
        ValueError: swarm knows no such key.
    """
    description, spec = node["Description"], node["Spec"]
    if key.startswith("node.labels."):
        return str((spec.get("Labels") or {}).get(key.removeprefix("node.labels."), ""))
    if key.startswith("engine.labels."):
        return str((description["Engine"].get("Labels") or {}).get(key.removeprefix("engine.labels."), ""))
    known = {
        "node.id": lambda: node["ID"],
        "node.hostname": lambda: description["Hostname"],
        "node.role": lambda: spec["Role"],
        "node.ip": lambda: node["Status"].get("Addr", ""),
        "node.platform.os": lambda: description["Platform"]["OS"],
        "node.platform.arch": lambda: description["Platform"]["Architecture"],
    }
    if key not in known:
        raise ValueError(
            f"a constraint names {key!r}, which swarm does not know: it knows {', '.join(known)} and labels"
        )
    return str(known[key]())
