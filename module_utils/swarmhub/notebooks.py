"""Which notebooks run on which nodes, as a manager knows it, and what else cannot leave a node.

Engine API: ``GET /tasks``, ``GET /services`` (https://docs.docker.com/reference/api/engine/).
"""

from __future__ import annotations

import json
import typing as t

from ansible.module_utils.swarmhub.engine import Engine
from ansible.module_utils.swarmhub.node_guards import ENDED, NOTEBOOK_LABEL

Json = dict[str, t.Any]


def on_nodes(engine: Engine, node_ids: t.Sequence[str]) -> Json:
    """Return what module ``swarm_notebooks`` documents, of the tasks that the swarm wants to run on these nodes.

    Raises:
        EngineError: the engine refused, does not answer or is no manager.
    """
    filters = {"node": list(node_ids), "desired-state": ["running"]}
    tasks = engine.request("GET", "/tasks", params={"filters": json.dumps(filters)}) if node_ids else []
    services = {service["ID"]: service["Spec"] for service in engine.request("GET", "/services")} if tasks else {}
    placed = [
        (services[task["ServiceID"]], task)
        for task in tasks
        if task.get("ServiceID") in services and task["Status"]["State"] not in ENDED
    ]
    notebooks = [_notebook(spec, task) for spec, task in placed if NOTEBOOK_LABEL in spec["Labels"]]
    others = [(spec["Name"], task) for spec, task in placed if NOTEBOOK_LABEL not in spec["Labels"]]
    return {
        "notebooks": sorted(notebooks, key=lambda each: (each["node_id"], each["user"])),
        "pinned": {name: task["NodeID"] for name, task in others if _is_pinned(task)},
    }


def _notebook(spec: Json, task: Json) -> Json:
    labels = spec["Labels"]
    return {
        "user": labels[NOTEBOOK_LABEL],
        "profile": labels.get("swarmhub.profile", ""),
        "node_id": task["NodeID"],
        "state": task["Status"]["State"],
        "since": task["CreatedAt"],
    }


def _is_pinned(task: Json) -> bool:
    constraints = (task["Spec"].get("Placement") or {}).get("Constraints") or []
    return any("".join(constraint.split()) == f"node.id=={task['NodeID']}" for constraint in constraints)
