"""What the cluster is like now: one look at its first manager that answers, and what it means."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from pathlib import Path

from swarmhub.connection import first_answer, hosts
from swarmhub.project import Project

Json = dict[str, t.Any]

PROGRAM = Path(__file__).with_name("status_program.py")
TIMEOUT = 15.0  # seconds
ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
LEAST_FREE = 0.1  # of a disk
LEAST_DAYS = 30  # that the front's certificate is good for


@dataclasses.dataclass(frozen=True)
class Status:
    """What `status --json` prints.

    Attributes:
        manager: who was asked, by the inventory's name.
        quorum: ``managers``, how many are ``reachable``, how many are ``needed``.
        nodes: each with hostname, address, state, availability, role, leader, engine, ``cards`` (uuid, kind,
            ``held_by``) and ``notebooks``.
        cards: ``total`` and ``free`` (of nodes that take notebooks).
        services: of stacks, with ``wanted`` and ``running`` tasks, and ``why`` where these differ.
        servers: people's notebooks: user, server, profile, node, state, since.
        disks: of the manager: path, total and free bytes.
        certificate_days: for how long the front's is good; None without one.
        warnings: what needs somebody's eye.
    """

    manager: str
    quorum: Json
    nodes: list[Json]
    cards: Json
    services: list[Json]
    servers: list[Json]
    disks: list[Json]
    certificate_days: int | None
    warnings: list[str]


class Targets:
    """The managers that can be asked; the inventory is read once."""

    def __init__(self, project: Project, password: str) -> None:
        """Read the inventory; ``password`` is for sudo where it has none. Raises Refused where that fails."""
        managers = hosts(project, "managers")
        self._managers = [dataclasses.replace(each, password=each.password or password) for each in managers]
        self._program = PROGRAM.read_text(encoding="utf-8")

    def look(self) -> Status:
        """Ask all managers, and take the first answer.

        Raises:
            Refused: none answers.
        """
        target, answer = first_answer(self._managers, self._program, TIMEOUT)
        return judge(target.name, json.loads(answer[answer.index("{") :]), now())


def gib(size: int) -> str:
    """Return bytes as GiB."""
    return f"{size / 2**30:.1f} GiB"


def now() -> datetime.datetime:
    """Return the time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def judge(manager: str, seen: Json, at: datetime.datetime) -> Status:
    """Return what the program's answer means; pure, for a time ``at``."""
    tasks = [task for task in seen["tasks"] if task["state"] not in ENDED]
    services = {service["id"]: service for service in seen["services"]}
    nodes = [_node(node, [task for task in tasks if task["node"] == node["id"]], services) for node in seen["nodes"]]
    usable = [node for node in nodes if node["state"] == "ready" and node["availability"] == "active"]
    managers = [node for node in seen["nodes"] if node["role"] == "manager"]
    reachable = sum(node["reachability"] == "reachable" for node in managers)
    names = {node["id"]: node["hostname"] for node in seen["nodes"]}
    status = Status(
        manager=manager,
        quorum={"managers": len(managers), "reachable": reachable, "needed": len(managers) // 2 + 1},
        nodes=sorted(nodes, key=lambda node: (node["role"] != "manager", node["hostname"])),
        cards={
            "total": sum(len(node["cards"]) for node in nodes),
            "free": sum(not card["held_by"] for node in usable for card in node["cards"]),
        },
        services=[_service(each, seen["tasks"]) for each in seen["services"] if each["stack"]],
        servers=[_server(each, tasks, names) for each in seen["services"] if "swarmhub.user" in each["labels"]],
        disks=list({disk["device"]: disk for disk in reversed(seen["disks"])}.values())[::-1],
        certificate_days=_days(seen["certificate"], at),
        warnings=[],
    )
    status.warnings.extend(_warnings(status))
    return status


def _named(holder: Json) -> list[tuple[str, str]]:
    """The named generic resources of a node or task, by kind and id."""
    named = [resource.get("NamedResourceSpec") for resource in holder["resources"]]
    return [(each["Kind"], each["Value"]) for each in named if each]


def _is_card(kind: str) -> bool:
    return kind == "GPU" or kind.startswith(("GPU_", "MIG_"))


def _node(node: Json, tasks: list[Json], services: dict[str, Json]) -> Json:
    holders = {}
    for task in tasks:
        labels = services.get(task["service"], {}).get("labels", {})
        holder = labels.get("swarmhub.user") or services.get(task["service"], {}).get("name", "a task without service")
        holders.update(dict.fromkeys((uuid for kind, uuid in _named(task) if _is_card(kind)), holder))
    cards = [
        {"uuid": uuid, "kind": kind, "held_by": holders.get(uuid, "")}
        for kind, uuid in sorted(_named(node))
        if _is_card(kind)
    ]
    people = sum("swarmhub.user" in services.get(task["service"], {}).get("labels", {}) for task in tasks)
    kept = (
        "hostname",
        "address",
        "state",
        "message",
        "availability",
        "role",
        "leader",
        "reachability",
        "engine",
        "model",
    )
    return {**{key: node[key] for key in kept}, "cards": cards, "notebooks": people}


def _service(service: Json, tasks: list[Json]) -> Json:
    # The newest word first: what was wrong with earlier tasks may be mended.
    own = sorted(
        (task for task in tasks if task["service"] == service["id"]), key=lambda task: task["time"], reverse=True
    )
    errors = [task["error"] for task in own if task["error"]]
    states = [task["state"] for task in own if task["state"] not in ENDED]
    why = ""
    if service["running"] < service["wanted"]:
        why = errors[0] if errors else states[0] if states else "no task was made yet"
    return {key: service[key] for key in ("name", "wanted", "running")} | {"why": why}


def _server(service: Json, tasks: list[Json], names: dict[str, str]) -> Json:
    task = next((task for task in tasks if task["service"] == service["id"]), None)
    return {
        "user": service["labels"]["swarmhub.user"],
        "server": service["labels"].get("swarmhub.server", ""),
        "profile": service["labels"].get("swarmhub.profile", ""),
        "node": names.get(task["node"], "") if task else "",
        "state": task["state"] if task else "no task",
        "since": service["created"],
    }


def _days(pem: str, at: datetime.datetime) -> int | None:
    if not pem:
        return None
    from cryptography import x509

    return (x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc - at).days


def _warnings(status: Status) -> t.Iterator[str]:
    quorum = status.quorum
    if quorum["reachable"] < quorum["managers"]:
        spare = quorum["reachable"] - quorum["needed"]
        loss = f"{spare} more may be lost" if spare > 0 else "none more may be lost"
        yield f"{quorum['reachable']} of {quorum['managers']} managers are reachable: {loss}"
    for node in status.nodes:
        if node["state"] != "ready":
            yield f"{node['hostname']} is {node['state']}{': ' + node['message'] if node['message'] else ''}"
    for service in status.services:
        if service["why"]:
            yield f"{service['name']} has {service['running']} of {service['wanted']} tasks: {service['why']}"
    for disk in status.disks:
        if disk["free"] < LEAST_FREE * disk["total"]:
            yield f"{status.manager}: {disk['path']} has {gib(disk['free'])} free of {gib(disk['total'])}"
    days = status.certificate_days
    if days is not None and days < LEAST_DAYS:
        until = f"ends in {days} days" if days >= 0 else "has ended"
        yield f"the front's certificate {until}: put in place a new hub_tls_certificate and hub_tls_key, and run apply"
