"""Settle labels, roles and availability of a swarm's nodes, in one go, on a manager.

Engine API: ``GET /nodes``, ``GET /nodes/ID``, ``POST /nodes/ID/update``, ``DELETE /nodes/ID``, ``GET /services``,
``GET /tasks`` (https://docs.docker.com/reference/api/engine/). A run with nothing to do costs two requests, however
many nodes there are.
"""

from __future__ import annotations

import typing as t

from ansible.module_utils.swarmhub.engine import Engine, EngineError
from ansible.module_utils.swarmhub.node_change import Change, Json, Wish, hostname, reachable, view
from ansible.module_utils.swarmhub.node_guards import (
    check_constraints,
    check_quorum,
    check_restarts,
    occupying,
    running_services,
)
from ansible.module_utils.swarmhub.swarm import Refused, named_resources, update, wait_for


def settle(engine: Engine, wanted: t.Mapping[str, t.Any], *, check_mode: bool = False) -> Json:
    """Make the nodes what they are wanted to be.

    Args:
        wanted: the arguments of module ``swarm_nodes``.

    Returns:
        What module ``swarm_nodes`` documents.

    Raises:
        EngineError: the engine refused, does not answer or is no manager.
        Refused: an unknown node, a label that a running notebook needs, a quorum at stake, or a node that is not
            right in time.
    """
    timeout = wanted["timeout"]
    all_wishes = [Wish.parse(node) for node in wanted["nodes"]]
    nodes = _nodes(engine)
    _check_distinct(all_wishes)
    leaving = [wish for wish in all_wishes if not wish.present and wish.node_id in nodes]
    joining = [wish for wish in all_wishes if wish.present and check_mode and not wish.node_id]
    wishes = [wish for wish in all_wishes if wish.present and wish not in joining]
    _check_known(wishes, nodes)

    exact = wanted["labels_state"] == "exact"
    plan = [Change(wish, nodes[wish.node_id], exact=exact) for wish in wishes]
    changes = [change for change in plan if change.needed]
    check_quorum(engine, nodes, [*changes, *(Change(wish, nodes[wish.node_id], exact=exact) for wish in leaving)])
    check_restarts(nodes, plan)
    if not wanted["allow_constrained_label_change"]:
        check_constraints(engine, changes)
    draining = [change.wish for change in changes if change.drains]
    ran = running_services(engine, draining)

    if not check_mode:
        _apply(engine, changes, timeout)
        nodes = _wait_settled(engine, wishes, timeout)
    gone = [nodes[wish.node_id] for wish in leaving if wish.node_id in nodes]
    gone += [node for node in _stale(nodes, wishes) if wanted["prune"] and node not in gone]
    if not check_mode:
        left = {wish.node_id for wish in leaving if wish.left}
        for node in gone:
            _remove(engine, node, timeout, at_once=node["ID"] in left)

    return {
        "changed": bool(changes or gone or joining),
        "nodes": {change.wish.name: _report(change, nodes[change.wish.node_id]) for change in plan},
        "removed": [{"node_id": node["ID"], "hostname": hostname(node)} for node in gone],
        "drained": {wish.name: ran[wish.node_id] for wish in draining},
        "diff": _diff(changes, joining, gone),
    }


def _nodes(engine: Engine) -> dict[str, Json]:
    return {node["ID"]: node for node in engine.request("GET", "/nodes")}


def _check_known(wishes: list[Wish], nodes: dict[str, Json]) -> None:
    unknown = [f"{wish.name} ({wish.node_id or 'no node id'})" for wish in wishes if wish.node_id not in nodes]
    if unknown:
        raise Refused(
            f"not in this swarm: {', '.join(unknown)}; let them join it first (swarm_member), and pass the node id "
            "that the host itself reports"
        )


def _check_distinct(wishes: list[Wish]) -> None:
    """Refuse two wishes for one node."""
    ids = [wish.node_id for wish in wishes if wish.node_id]
    same = sorted(wish.name for wish in wishes if ids.count(wish.node_id) > 1)
    if same:
        raise Refused(f"{', '.join(same)} are one and the same node: these inventory names lead to one engine")


def _apply(engine: Engine, changes: list[Change], timeout: float) -> None:
    """Send the updates: demotions last and one by one, so that the managers keep their quorum in between."""
    demotions = [change for change in changes if change.new_role == "worker"]
    others = [change for change in changes if change not in demotions]
    # A manager that does not answer is no loss to the quorum, so it goes first.
    demotions.sort(key=lambda change: reachable(change.node))
    for batch in [others, *([change] for change in demotions)]:
        for change in batch:
            path = f"/nodes/{change.wish.node_id}"
            update(engine, path, f"{path}/update", change.apply)
        if demotions:
            _wait_settled(engine, [change.wish for change in batch], timeout)


def _wait_settled(engine: Engine, wishes: list[Wish], timeout: float) -> dict[str, Json]:
    """Wait until the nodes are what they were told to be; return all nodes as they are then.

    Raises:
        Refused: time is up; names every node that lags, and why.
    """
    drains = [wish for wish in wishes if "drain" in (wish.availability, wish.for_restart)]

    def look() -> tuple[dict[str, Json], list[str]]:
        nodes, tasks = _nodes(engine), occupying(engine, drains)
        return nodes, [lag for wish in wishes for lag in _lags(wish, nodes.get(wish.node_id), tasks)]

    nodes, lags = wait_for(look, lambda seen: not seen[1], timeout)
    if lags:
        left = sorted({name for services in running_services(engine, drains).values() for name in services})
        lags += [f"what runs there is {', '.join(left)}"] if left else []
        raise Refused(f"not right after {timeout} s: {'; '.join(lags)}")
    return nodes


def _lags(wish: Wish, node: Json | None, tasks: list[Json]) -> t.Iterator[str]:
    """Say what a node still lacks."""
    if node is None:
        yield f"{wish.name} was removed from the swarm meanwhile"
        return
    status = node["Status"]
    if status["State"] != "ready":
        yield f"{wish.name} is {status['State']} ({status.get('Message') or 'its engine does not report'})"
    if node["Spec"]["Role"] == "manager" and not reachable(node):
        yield f"{wish.name} is not a reachable manager yet"
    if node["Spec"]["Role"] == "worker" and node.get("ManagerStatus"):
        yield f"{wish.name} still acts as a manager"
    shown = advertised(node)
    for kind, ids in wish.generic_resources.items():
        if sorted(ids) != shown.get(kind, []):
            yield (
                f"{wish.name} advertises {kind} {shown.get(kind, [])} instead of {sorted(ids)}: check "
                "node-generic-resources in its daemon.json, and whether its engine was restarted since"
            )
    left = [task for task in tasks if task["NodeID"] == wish.node_id]
    if left:
        yield f"{wish.name} still runs {len(left)} task(s)"


def advertised(node: Json) -> dict[str, list[str]]:
    """Return the named generic resources of a node, sorted ids by kind."""
    return named_resources(node["Description"].get("Resources") or {})


def _stale(nodes: dict[str, Json], wishes: list[Wish]) -> list[Json]:
    """Entries that a re-imaged host left behind: its host name, another id, and the host itself is Ready.

    Such an entry is Down, or soon will be: until then it has the host's address too, where no two engines can be.
    """
    ours = {wish.node_id for wish in wishes}
    alive = [nodes[node_id] for node_id in ours if nodes[node_id]["Status"]["State"] == "ready"]
    addresses = {hostname(node): node["Status"].get("Addr") for node in alive}

    def left_behind(node: Json) -> bool:
        status = node["Status"]
        gone = status["State"] == "down" or status.get("Addr") == addresses.get(hostname(node))
        return node["ID"] not in ours and hostname(node) in addresses and gone

    return sorted(filter(left_behind, nodes.values()), key=lambda node: node["ID"])


def _remove(engine: Engine, node: Json, timeout: float, *, at_once: bool) -> None:
    """Delete a node, ``at_once`` or once it is Down; a dead manager is demoted first, which takes a moment."""
    path = f"/nodes/{node['ID']}"

    def look() -> Json:
        return t.cast(Json, engine.request("GET", path))

    seen = wait_for(look, lambda now: at_once or now["Status"]["State"] == "down", timeout)
    if seen["Status"]["State"] != "down" and not at_once:
        raise Refused(
            f"node {node['ID']} of {hostname(node)} cannot be removed, since its engine is still "
            f"{seen['Status']['State']} after {timeout} s: let that host leave first (swarm_member with state=absent)"
        )
    update(engine, path, f"{path}/update", lambda spec: {**spec, "Role": "worker"})
    wait_for(look, lambda now: not now.get("ManagerStatus"), timeout)
    try:
        engine.request("DELETE", path, params={"force": at_once})
    except EngineError as error:
        if error.status != 404:  # gone already, which is what was wanted
            raise


def _report(change: Change, node: Json) -> Json:
    return {
        "node_id": node["ID"],
        "hostname": hostname(node),
        "changed": change.needed,
        **view(change.after),
        "state": node["Status"]["State"],
        "generic_resources": advertised(node),
    }


def _diff(changes: list[Change], joining: list[Wish], gone: list[Json]) -> Json:
    before: Json = {change.wish.name: view(change.before) for change in changes}
    after: Json = {change.wish.name: view(change.after) for change in changes}
    for wish in joining:
        after[wish.name] = view(wish.applied({"Role": "worker", "Availability": "active"}, exact=True))
    for node in gone:
        before[f"{hostname(node)} (node {node['ID']})"] = view(node["Spec"])
    return {"before": before, "after": after}
