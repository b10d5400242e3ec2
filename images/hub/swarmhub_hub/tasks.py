"""What the Task API's states mean (https://docs.docker.com/engine/swarm/how-swarm-mode-works/swarm-task-states/)."""

from __future__ import annotations

import datetime
import typing as t

Task = t.Mapping[str, t.Any]

WAITING = frozenset({"new", "allocated", "pending"})
STARTING = frozenset({"assigned", "accepted", "preparing", "ready", "starting"})
RUNNING = "running"


def latest(tasks: t.Sequence[Task]) -> Task | None:
    """Return the youngest of a service's tasks."""
    return max(tasks, key=lambda task: task["CreatedAt"], default=None)


def state(task: Task) -> str:
    """Return the state of a task in lower case."""
    return str(task["Status"]["State"]).lower()


def has_ended(task: Task) -> bool:
    """Tell whether a task holds nothing any more; one that is being stopped still does."""
    return state(task) not in WAITING | STARTING | {RUNNING}


def is_alive(task: Task) -> bool:
    """Tell whether a task runs or is on its way to.

    A task that the swarm wants to be gone is not alive, whatever its last report said: its node went down.
    """
    return task.get("DesiredState") not in ("shutdown", "remove") and not has_ended(task)


def address(task: Task, network: str) -> str:
    """Return the address of a task in a network, "" where it has none."""
    for attachment in task.get("NetworksAttachments") or []:
        if attachment["Network"]["Spec"]["Name"] == network:
            return str(next(iter(attachment["Addresses"]), "")).partition("/")[0]
    return ""


def moment(text: str) -> datetime.datetime:
    """Return a time as the engine writes it, with nine digits of a second, of which Python keeps six."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}").replace(tzinfo=datetime.UTC)


def end_of(task: Task) -> str:
    """Say in the swarm's own words why a task is not alive."""
    status = task["Status"]
    words = status.get("Err") or status.get("Message") or ""
    code = status.get("ContainerStatus", {}).get("ExitCode")
    exit_code = f", exit code {code}" if code else ""
    if state(task) == RUNNING:
        return "its node went down"
    return f"{state(task)}{exit_code}: {words}" if words else f"{state(task)}{exit_code}"


def progress_of(task: Task | None, node: str = "") -> tuple[int, str]:
    """Return how far a start is, in per cent, and a sentence for the person who waits."""
    if task is None:
        return 10, "Waiting for its turn"
    now = state(task)
    if now in WAITING:
        reason = task["Status"].get("Err")
        return 20, f"Waiting for a place: {reason}" if reason else "Waiting for the scheduler"
    where = f" on {node}" if node else ""
    if now in ("assigned", "accepted", "preparing"):
        return 50, f"Preparing the notebook{where} (an image that is not there yet is fetched now)"
    if now in ("ready", "starting"):
        return 70, f"Starting the notebook{where}"
    return 85, f"The notebook runs{where}; waiting for its answer"
