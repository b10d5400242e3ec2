"""Which nodes a user wants out of service, found in the swarm by what the hosts and a manager tell."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.cluster import SINGLE_HOST_GROUPS, named, peer_manager

Facts = Mapping[str, t.Any]

#: What a plan tells of a node, as host_state has it from a manager.
KEYS = ("hostname", "state", "role", "availability")


def hosts_to_look_at(node: str | None, groups: Mapping[str, list[str]]) -> str:
    """Return the pattern of the managers and of the named hosts that the inventory has.

    Raises:
        ValueError: nothing is named, or there is no manager.
    """
    if not groups.get("managers"):
        raise ValueError("the inventory has no managers: nothing was changed")
    known = [name for name in named(node) if name in groups.get("all", [])]
    return ",".join(dict.fromkeys([*groups["managers"], *known]))


def plan(
    node: str, groups: Mapping[str, list[str]], hostvars: Mapping[str, Facts], states: Mapping[str, Facts], remove: bool
) -> dict[str, t.Any]:
    """Return the ``nodes`` that are meant, ``via`` which manager, and the ``refusal``: all that stands against it.

    A node has ``name``, ``node_id`` and what `KEYS` says. A host that answers tells its node itself. Of one that does
    not, that has left already, or that the inventory has no more, the managers know the address and the host name.

    Args:
        states: what the look found on each host that answered.
        remove: whether the nodes are to leave the cluster.
    """
    names = named(node)
    peers = [peer_manager(states, groups["managers"], name) for name in names]
    via = next((host for host in peers if host not in names and host in states), "")
    if not via:
        alone = [name for name in names if name in groups["managers"]]
        why = f"{', '.join(alone)} has no other manager at work beside it" if alone else "no manager answers"
        return {"nodes": [], "via": "", "refusal": f"{why}. Nothing was changed."}
    swarm = states[via]["swarm"]["nodes"]
    found, wrong = [], []
    for name in names:
        node_ids = _node_ids(name, hostvars, states, swarm)
        if not node_ids:
            wrong.append(f"{name}: the cluster has no such node")
        elif len(node_ids) > 1:
            wrong.append(f"{name}: {len(node_ids)} nodes are called so: remove the stale ones (docker node rm ID)")
        else:
            found.append({"name": name, "node_id": node_ids[0], **{key: swarm[node_ids[0]][key] for key in KEYS}})
    if remove:
        wrong += _staying(found, groups, states)
    else:
        down = [each for each in found if each["state"] != "ready"]
        wrong += [f"{each['name']} is {each['state']}: it is drained when it is back, or removed" for each in down]
    return {"nodes": found, "via": via, "refusal": f"{'; '.join(wrong)}. Nothing was changed." if wrong else ""}


def _staying(nodes: list[dict[str, t.Any]], groups: Mapping[str, list[str]], states: Mapping[str, Facts]) -> list[str]:
    """Say which nodes cannot be removed, and why."""
    wrong = []
    for node in nodes:
        name = node["name"]
        if serves := [group for group in SINGLE_HOST_GROUPS if name in groups.get(group, [])]:
            wrong.append(f"{name} is in {', '.join(serves)}: move what it serves first")
        if name not in states and node["state"] == "ready":
            wrong.append(f"{name} does not answer over SSH, but its engine is at work: mend that first")
    return wrong


def _node_ids(
    name: str, hostvars: Mapping[str, Facts], states: Mapping[str, Facts], swarm: Mapping[str, Facts]
) -> list[str]:
    told = states.get(name, {}).get("swarm") or {}
    # A run may have ended between the host's leaving and the end of its entry.
    if told.get("state", "inactive") != "inactive":
        node_id = told.get("node_id", "")
        return [node_id] if node_id in swarm else []
    # Ansible's own mapping raises in get() as well.
    variables = hostvars[name] if name in hostvars else {}  # noqa: SIM401
    address = variables.get("swarm_node_address") or variables.get("ansible_host") or ""
    at_its_address = [node_id for node_id, node in swarm.items() if address and node["address"] == address]
    return at_its_address or [node_id for node_id, node in swarm.items() if node["hostname"] == name]


def with_names(notebooks: Iterable[Facts], nodes: Iterable[Facts]) -> list[dict[str, str]]:
    """Return notebooks of module swarm_notebooks as module hub_notebooks takes them."""
    names = {node["node_id"]: node["name"] for node in nodes}
    return [
        {**{key: notebook[key] for key in ("user", "profile", "since")}, "node": names[notebook["node_id"]]}
        for notebook in notebooks
    ]


def wishes(nodes: Iterable[Facts], **wish: t.Any) -> list[dict[str, t.Any]]:
    """Return nodes of a plan as module swarm_nodes takes them, each with the same ``wish``."""
    return [{"node_id": node["node_id"], "name": node["name"], **wish} for node in nodes]
