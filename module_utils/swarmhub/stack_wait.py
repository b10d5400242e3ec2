"""Whether a stack's services run as asked, waiting until they do, and the engine's own reasons when they do not.

A task is running only when its health check, if it has one, has passed; without one it must have run for a few
seconds, so that a container that keeps crashing is not taken for a running one.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
import typing as t

from ansible.module_utils.swarmhub.engine import Engine
from ansible.module_utils.swarmhub.stack_spec import fingerprint_of

STEADY_SECONDS = 5.0
_POLL_SECONDS = 0.5
_MOST_REASONS = 3
_PAUSED = ("paused", "rollback_paused")
_MOVING = ("updating", "rollback_started")
# Not the placement: a change of it leaves tasks on nodes that still fit as they are.
_TEMPLATE = ("ContainerSpec", "Resources", "RestartPolicy", "Networks", "LogDriver", "ForceUpdate")

Live = dict[str, t.Any]


@dataclasses.dataclass
class Progress:
    """How far one service is: ``running`` of ``wanted`` tasks, ``settled`` when nothing is left to wait for.

    Otherwise ``note`` says where it stands, ``stuck`` that the engine will not go on by itself, and ``reasons`` are the
    errors of its tasks.
    """

    name: str
    running: int
    wanted: int
    settled: bool = False
    stuck: bool = False
    note: str = ""
    reasons: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        why = ([self.note] if self.note else []) + self.reasons or ["no reason given by the engine yet"]
        count = f"{self.running} of {self.wanted}" if self.wanted else "none"
        return f"{self.name}: {count} running ({'; '.join(why)})"


class NotConverged(Exception):
    """Some services do not run as asked; ``progress`` holds all services."""

    def __init__(self, progress: list[Progress]) -> None:
        super().__init__("; ".join(str(item) for item in progress if not item.settled))
        self.progress = progress


def tasks_of(engine: Engine, services: list[Live]) -> dict[str, list[Live]]:
    """The tasks of the services by service id, newest first."""
    found: dict[str, list[Live]] = {service["ID"]: [] for service in services}
    if services:
        filters = json.dumps({"service": list(found)})
        for task in engine.request("GET", "/tasks", params={"filters": filters}) or []:
            found.setdefault(task["ServiceID"], []).append(task)
    for tasks in found.values():
        tasks.sort(key=lambda task: task["CreatedAt"], reverse=True)
    return found


def is_paused(service: Live) -> bool:
    """The engine stopped in the middle of an update and will not go on by itself."""
    return (service.get("UpdateStatus") or {}).get("State") in _PAUSED


def has_given_up(service: Live, tasks: list[Live]) -> bool:
    """A task of the present template used up its restart attempts: the engine will not start it again by itself."""
    return _may_give_up(service) and any(
        task["DesiredState"] == "shutdown"
        and task["Status"]["State"] in ("failed", "rejected")
        and _is_current(service, task)
        for task in _newest_by_slot(service, tasks).values()
    )


def wait(engine: Engine, expected: dict[str, str], timeout: float, clock: t.Any = time) -> list[Progress]:
    """Wait until the services run as asked.

    Args:
        expected: the fingerprint (label ``com.swarmhub.spec``) that each service is to have, by service id.
        timeout: seconds; a service that is right is looked at once and costs no time.

    Raises:
        NotConverged: at the deadline, or earlier when the engine has given up on all that is not right.
    """
    if not expected:
        return []
    deadline = clock.monotonic() + timeout
    first_seen: dict[str, float] = {}
    while True:
        filters = json.dumps({"id": list(expected)})
        services = engine.request("GET", "/services", params={"filters": filters}) or []
        tasks = tasks_of(engine, services)
        progress = [
            _assess(service, tasks[service["ID"]], expected[service["ID"]], first_seen, clock) for service in services
        ]
        gone = expected.keys() - {service["ID"] for service in services}
        progress += [Progress(service, 0, 0, stuck=True, note="somebody removed it") for service in sorted(gone)]
        open_ends = [item for item in progress if not item.settled]
        if not open_ends:
            return progress
        if clock.monotonic() >= deadline or all(item.stuck for item in open_ends):
            nodes = _node_names(engine)
            for service, item in zip(services, progress, strict=False):
                if not item.settled:
                    item.reasons = _reasons(service, tasks[service["ID"]], nodes)
            raise NotConverged(progress)
        clock.sleep(_POLL_SECONDS)


def wait_gone(engine: Engine, tasks: list[str], timeout: float, clock: t.Any = time) -> bool:
    """Wait until the tasks (ids) of removed services have ended; ``False`` when some have not after ``timeout`` s.

    What was on a node that is Down is not waited for: the swarm hears of its end when the node is back, or never.
    """
    deadline = clock.monotonic() + timeout
    while tasks:
        live = engine.request("GET", "/tasks", params={"filters": json.dumps({"id": tasks})}) or []
        down = {node["ID"] for node in engine.request("GET", "/nodes") or [] if node["Status"]["State"] == "down"}
        tasks = [
            task["ID"]
            for task in live
            if task["Status"]["State"] not in ("complete", "shutdown", "failed", "rejected", "orphaned")
            and task.get("NodeID") not in down
        ]
        if tasks and clock.monotonic() >= deadline:
            return False
        if tasks:
            clock.sleep(_POLL_SECONDS)
    return True


def _assess(service: Live, tasks: list[Live], expected: str, first_seen: dict[str, float], clock: t.Any) -> Progress:
    spec, state = service["Spec"], (service.get("UpdateStatus") or {}).get("State", "")
    slots = _newest_by_slot(service, tasks)
    is_global = "Global" in spec["Mode"]
    wanted = len(slots) if is_global else spec["Mode"]["Replicated"]["Replicas"]
    good = [task for task in slots.values() if _is_good(service, task)]
    progress = Progress(spec["Name"], len(good), wanted)
    if fingerprint_of(spec) != expected:
        progress.stuck = True
        progress.note = (
            f"{'the engine rolled it back' if state.startswith('rollback') else 'somebody changed it'} meanwhile"
        )
    elif state in _PAUSED:
        progress.stuck, progress.note = True, service["UpdateStatus"].get("Message") or "its update is paused"
    elif has_given_up(service, tasks):
        progress.stuck, progress.note = True, "its restart attempts are used up"
    elif is_global and not slots:
        progress.note = "no node fits its placement"
    elif state not in _MOVING and len(good) >= wanted:
        steady = [_is_steady(service, task, first_seen, clock) for task in good]
        progress.settled = all(steady)
        progress.note = "" if progress.settled else f"not yet for {STEADY_SECONDS:g} s"
    return progress


def _newest_by_slot(service: Live, tasks: list[Live]) -> dict[t.Any, Live]:
    """The task that counts in each slot: a replica's number, or the node of a global service."""
    slots: dict[t.Any, Live] = {}
    for task in tasks:
        slots.setdefault(task.get("Slot") or task.get("NodeID"), task)
    return {slot: task for slot, task in slots.items() if _counts(service, task)}


def _counts(service: Live, task: Live) -> bool:
    """The slot still belongs to the service: it was not scaled away, and its node did not cease to fit."""
    if task["DesiredState"] not in ("shutdown", "remove"):
        return True
    return _may_give_up(service) and task["Status"]["State"] in ("complete", "failed", "rejected")


def _may_give_up(service: Live) -> bool:
    """The restart policy has an end."""
    policy = service["Spec"]["TaskTemplate"].get("RestartPolicy") or {}
    return bool(policy.get("MaxAttempts") or policy.get("Condition", "any") != "any")


def _is_good(service: Live, task: Live) -> bool:
    state = task["Status"]["State"]
    if not _is_current(service, task):
        return False
    if state == "complete":
        return _may_give_up(service)
    return bool(state == "running" and task["DesiredState"] == "running")


def _is_current(service: Live, task: Live) -> bool:
    """The task was made from the service's present template, in our judgement or, after an update, the engine's."""
    if (service.get("UpdateStatus") or {}).get("State") == "completed":
        return True
    wanted, made = service["Spec"]["TaskTemplate"], task["Spec"]
    return all(wanted.get(key) == made.get(key) for key in _TEMPLATE)


def _is_steady(service: Live, task: Live, first_seen: dict[str, float], clock: t.Any) -> bool:
    """The task will stay: it passed its health check, or has run for a while.

    That while is told by time stamps, or, since clocks differ between nodes, by how long we have seen it. After a
    change of the placement the engine may yet end a task whose node does not fit any more: the while begins there.
    """
    template = service["Spec"]["TaskTemplate"]
    since = task["Status"]["Timestamp"]
    if template.get("Placement") != task["Spec"].get("Placement"):
        since = max(since, service["UpdatedAt"])
    elif task["Status"]["State"] == "complete" or (template["ContainerSpec"].get("Healthcheck") or {}).get("Test"):
        return True
    seen = clock.monotonic() - first_seen.setdefault(task["ID"], clock.monotonic())
    stamp = datetime.datetime.fromisoformat(since[:19] + "+00:00").timestamp()
    return bool(max(seen, clock.time() - stamp) >= STEADY_SECONDS)


def _node_names(engine: Engine) -> dict[str, str]:
    return {node["ID"]: node["Description"]["Hostname"] for node in engine.request("GET", "/nodes") or []}


def _reasons(service: Live, tasks: list[Live], nodes: dict[str, str]) -> list[str]:
    """The last distinct errors of the tasks that do not run, the present template's before older ones."""
    found: list[str] = []
    for task in sorted(tasks, key=lambda task: not _is_current(service, task)):
        status = task["Status"]
        reason = status.get("Err")
        if not reason and task["DesiredState"] == "running" and status["State"] != "running":
            reason = f"{status['State']}: {status.get('Message', '')}"
        if reason and task.get("NodeID"):
            reason += f" on node {nodes.get(task['NodeID'], task['NodeID'])}"
        if reason and reason not in found:
            found.append(reason)
    return found[:_MOST_REASONS]
