"""Takes away the services of notebooks that ended, and reports those that run unknown to the hub.

A service that the hub knows is the spawner's business. One that it does not know is removed when its task has ended, or
when it never ran and is older than any start may take; a running one is somebody's work and is only reported.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from swarmhub_hub import tasks
from swarmhub_hub.settings import NAME_PREFIX

Service = t.Mapping[str, t.Any]

#: Seconds after the hub's start in which nothing is reaped: it still finds out what runs.
GRACE = 180
INTERVAL = 60
#: Seconds in which a new service may be without a task.
YOUNG = 60


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to do: names of services to remove, and of those that run unknown to the hub."""

    remove: tuple[str, ...]
    report: tuple[str, ...]


def judge(
    services: t.Iterable[Service],
    all_tasks: t.Iterable[tasks.Task],
    known: t.Collection[str],
    now: datetime.datetime,
    start_timeout: float,
) -> Verdict:
    """Decide about each of our services; ``now`` is in UTC, ``start_timeout`` in seconds."""
    by_service: dict[str, list[tasks.Task]] = {}
    for task in all_tasks:
        by_service.setdefault(task["ServiceID"], []).append(task)
    remove, report = [], []
    for service in services:
        name = service["Spec"]["Name"]
        if not name.startswith(NAME_PREFIX + "-") or name in known:
            continue
        age = (now - _time(service["CreatedAt"])).total_seconds()
        youngest = tasks.latest(by_service.get(service["ID"], []))
        if youngest is None:
            patience: float = YOUNG
        elif not tasks.is_alive(youngest):
            patience = 0
        elif tasks.state(youngest) != tasks.RUNNING:
            patience = start_timeout + YOUNG
        else:
            report.append(name)
            continue
        if age >= patience:
            remove.append(name)
    return Verdict(tuple(remove), tuple(report))


def _time(stamp: str) -> datetime.datetime:
    # The engine writes nanoseconds, which Python does not read.
    return datetime.datetime.fromisoformat(stamp[:19]).replace(tzinfo=datetime.UTC)
