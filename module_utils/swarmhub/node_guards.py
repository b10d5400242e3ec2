"""What must not be done to a node: cost the managers their quorum, or end a running notebook by a label."""

from __future__ import annotations

import json
import re

from ansible.module_utils.swarmhub.engine import Engine
from ansible.module_utils.swarmhub.node_change import Change, Json, Wish, labels, reachable
from ansible.module_utils.swarmhub.swarm import Refused

NOTEBOOK_LABEL = "swarmhub.user"
ENDED = {"complete", "failed", "shutdown", "rejected", "orphaned", "remove"}
# swarmkit's grammar: https://github.com/moby/swarmkit/blob/master/manager/constraint/constraint.go
LABEL_CONSTRAINT = re.compile(r"\s*node\.labels\.([\w.-]+)\s*(==|!=)\s*(.*?)\s*", re.IGNORECASE)


def check_quorum(engine: Engine, nodes: dict[str, Json], changes: list[Change]) -> None:
    """Refuse demotions that cost the managers their majority, or this call its manager."""
    demoted = {change.wish.node_id: change.wish.name for change in changes if change.new_role == "worker"}
    if not demoted:
        return
    names = ", ".join(demoted.values())
    if engine.request("GET", "/info")["Swarm"]["NodeID"] in demoted:
        raise Refused(f"cannot demote {names}: this call runs on one of them; run it on a manager that stays one")
    promoted = {change.wish.node_id for change in changes if change.new_role == "manager"}
    managers = {node_id for node_id, node in nodes.items() if node["Spec"]["Role"] == "manager"}
    left = (managers | promoted) - demoted.keys()
    alive = [node_id for node_id in left if node_id in promoted or reachable(nodes[node_id])]
    if 2 * len(alive) <= len(left):
        raise Refused(
            f"cannot demote {names}: of the {len(left)} managers left only {len(alive)} would answer, which is no "
            "majority; bring the others back, or demote those first"
        )


def check_restarts(nodes: dict[str, Json], changes: list[Change]) -> None:
    """Refuse to begin a manager's restart while the others alone are no majority; a manager alone has no others."""
    managers = {node_id: node for node_id, node in nodes.items() if node["Spec"]["Role"] == "manager"}
    restarting = {
        change.wish.node_id: change.wish.name
        for change in changes
        if change.wish.for_restart in ("pause", "drain") and change.wish.node_id in managers
    }
    left = sum(reachable(node) for node_id, node in managers.items() if node_id not in restarting)
    if restarting and len(managers) > 1 and 2 * left <= len(managers):
        names = ", ".join(restarting.values())
        raise Refused(
            f"cannot restart {names} now: {left} of {len(managers)} managers would answer meanwhile, which is no "
            "majority; bring the others back first"
        )


def check_constraints(engine: Engine, changes: list[Change]) -> None:
    """Refuse to take a label from under a running notebook: the swarm would end it."""
    relabelled = [change for change in changes if change.relabels]
    tasks = occupying(engine, [change.wish for change in relabelled])
    if not tasks:
        return
    services = engine.request("GET", "/services", params=_filters(label=[NOTEBOOK_LABEL]))
    notebooks = {service["ID"]: service["Spec"] for service in services}
    broken = []
    for change in relabelled:
        for task in tasks:
            if task["NodeID"] != change.wish.node_id or task.get("ServiceID") not in notebooks:
                continue
            lost = _lost_constraints(task, change)
            if lost:
                notebook = notebooks[task["ServiceID"]]
                user = notebook["Labels"][NOTEBOOK_LABEL]
                broken.append(f"{user} on {change.wish.name} ({notebook['Name']} needs {', '.join(lost)})")
    if broken:
        raise Refused(
            f"changing these labels would end running notebooks: {'; '.join(sorted(broken))}; wait until they have "
            "stopped, or set allow_constrained_label_change=true"
        )


def _lost_constraints(task: Json, change: Change) -> list[str]:
    """Return the constraints of a task that hold now and would no longer."""
    constraints = (task["Spec"].get("Placement") or {}).get("Constraints") or []
    before, after = labels(change.before), labels(change.after)
    return [text for text in constraints if satisfied(text, before) and not satisfied(text, after)]


def satisfied(constraint: str, node_labels: dict[str, str]) -> bool:
    """Whether labels meet a constraint; one that is not about labels counts as met, a missing label as empty."""
    match = LABEL_CONSTRAINT.fullmatch(constraint)
    if not match:
        return True
    key, operator, value = match.groups()
    return (node_labels.get(key, "").casefold() == value.casefold()) == (operator == "==")


def occupying(engine: Engine, wishes: list[Wish]) -> list[Json]:
    """Return the tasks that have not ended on these nodes."""
    if not wishes:
        return []
    tasks = engine.request("GET", "/tasks", params=_filters(node=[wish.node_id for wish in wishes]))
    return [task for task in tasks if task["Status"]["State"] not in ENDED]


def running_services(engine: Engine, wishes: list[Wish]) -> dict[str, list[str]]:
    """Return the names of the services that have tasks on each node, by node id."""
    tasks = occupying(engine, wishes)
    services = engine.request("GET", "/services") if tasks else []
    names: dict[str, str] = {service["ID"]: service["Spec"]["Name"] for service in services}
    running: dict[str, set[str]] = {wish.node_id: set() for wish in wishes}
    for task in tasks:
        # The service itself may have been removed, and its task be about to end.
        running[task["NodeID"]].add(names.get(task.get("ServiceID", ""), str(task["ID"])))
    return {node_id: sorted(services) for node_id, services in running.items()}


def _filters(**filters: list[str]) -> dict[str, str]:
    return {"filters": json.dumps(filters)}
