"""A Docker engine for the spawner: it keeps services, and lets each task take the states that a test scripts."""

from __future__ import annotations

import itertools
import typing as t

import docker.errors
import requests

Status = dict[str, t.Any]


def not_found(what: str) -> docker.errors.NotFound:
    return docker.errors.NotFound(
        f"404: {what} not found", response=requests.Response(), explanation=f"{what} not found"
    )


def refused(words: str, code: int = 500) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = code
    return docker.errors.APIError(words, response=response, explanation=words)


def status(state: str, words: str = "", code: int = 0) -> Status:
    answer: Status = {"State": state}
    if words:
        answer["Err"] = words
    if code:
        answer["ContainerStatus"] = {"ExitCode": code}
    return answer


class FakeDocker:
    """Answers the methods of ``docker.APIClient`` that the hub uses."""

    def __init__(self) -> None:
        self.script: list[Status] = [status("running")]
        self.created: list[dict[str, t.Any]] = []
        self.removed: list[str] = []
        self.live: dict[str, dict[str, t.Any]] = {}
        self.failure: Exception | None = None
        self.refusal: Exception | None = None
        self.extra_tasks: list[dict[str, t.Any]] = []
        self.desired = "running"
        self.kept: dict[str, dict[str, t.Any]] = {}
        self.used: set[str] = set()
        self.cards: dict[str, tuple[str, ...]] = {}
        self.labels = {"calculation_type": "gpu", "gpu_model": "A100"}
        self._ids = itertools.count(1)

    def create_service(self, **arguments: t.Any) -> dict[str, str]:
        self._answer()
        if self.refusal:
            raise self.refusal
        wanted = [each["ConfigName"] for each in arguments["task_template"]["ContainerSpec"]["Configs"]]
        if missing := [name for name in wanted if name not in self.kept]:
            raise refused(f"rpc error: code = InvalidArgument desc = config not found: {', '.join(missing)}", 400)
        service_id = f"service{next(self._ids)}"
        self.created.append(arguments)
        self.live[service_id] = {
            "ID": service_id,
            "CreatedAt": "2026-01-01T00:00:00.123456789Z",
            "Spec": {
                "Name": arguments["name"],
                "Labels": arguments["labels"],
                "TaskTemplate": arguments["task_template"],
            },
            "script": list(self.script),
        }
        return {"ID": service_id}

    def configs(self, filters: dict[str, str]) -> list[dict[str, t.Any]]:
        self._answer()
        return [config for name, config in self.kept.items() if name.startswith(filters["name"])]

    def create_config(self, name: str, data: bytes, labels: dict[str, str]) -> dict[str, str]:
        self._answer()
        if name in self.kept:
            raise refused("already exists", 409)
        self.kept[name] = {"ID": f"id-{name}", "Spec": {"Name": name, "Labels": labels, "Data": data}}
        return {"ID": f"id-{name}"}

    def remove_config(self, config_id: str) -> None:
        self._answer()
        name = config_id.removeprefix("id-")
        if name in self.used:
            raise refused(f"config '{name}' is in use by the following service: x", 400)
        del self.kept[name]

    def tasks(self, filters: dict[str, str] | None = None) -> list[dict[str, t.Any]]:
        self._answer()
        if filters and filters["service"] not in self.live:
            raise not_found("service")
        wanted = [self.live[filters["service"]]] if filters else list(self.live.values())
        return [self._task(service) for service in wanted if service["script"]] + ([] if filters else self.extra_tasks)

    def inspect_task(self, task_id: str) -> dict[str, t.Any]:
        self._answer()
        raise not_found("task")

    def remove_service(self, name: str) -> None:
        self._answer()
        for service_id, service in list(self.live.items()):
            if name in (service_id, service["Spec"]["Name"]):
                del self.live[service_id]
                self.removed.append(name)
                return
        raise not_found("service")

    def services(self, filters: dict[str, str]) -> list[dict[str, t.Any]]:
        self._answer()
        key, _, value = filters["label"].partition("=")
        return [service for service in self.live.values() if service["Spec"]["Labels"].get(key) == value]

    def nodes(self) -> list[dict[str, t.Any]]:
        self._answer()
        joining = {
            "ID": "id-joining",
            "Spec": {"Role": "worker", "Availability": "active"},
            "Status": {"State": "unknown"},
        }
        return [*(self._node(name) for name in ("cpu1", "gpu1", "twin", "twin")), joining]

    def _node(self, name: str) -> dict[str, t.Any]:
        cards = [{"NamedResourceSpec": {"Kind": "GPU", "Value": card}} for card in self.cards.get(name, ())]
        return {
            "ID": f"id-{name}",
            "Spec": {"Role": "worker", "Availability": "active", "Labels": self.labels},
            "Description": {"Hostname": name, "Resources": {"GenericResources": cards}},
            "Status": {"State": "ready"},
        }

    def inspect_node(self, node_id: str) -> dict[str, t.Any]:
        return {"ID": node_id, "Description": {"Hostname": "cpu1"}}

    def _task(self, service: dict[str, t.Any]) -> dict[str, t.Any]:
        script = service["script"]
        now = script.pop(0) if len(script) > 1 else script[0]
        waits = now["State"] in ("new", "pending")
        reserved = service["Spec"]["TaskTemplate"]["Resources"]["Reservations"].get("GenericResources", [])
        counts = [(each["DiscreteResourceSpec"]["Kind"], each["DiscreteResourceSpec"]["Value"]) for each in reserved]
        held = [{"NamedResourceSpec": {"Kind": kind, "Value": "card"}} for kind, count in counts for _ in range(count)]
        return {
            "ID": f"task-{service['ID']}",
            "ServiceID": service["ID"],
            "CreatedAt": "2026-01-01T00:00:00Z",
            "NodeID": "" if waits else _pin(service) or "id-cpu1",
            "GenericResources": [] if waits else held,
            "DesiredState": self.desired,
            "NetworksAttachments": [
                {"Network": {"Spec": {"Name": "ingress"}}, "Addresses": ["192.0.2.1/24"]},
                {"Network": {"Spec": {"Name": "swarmhub"}}, "Addresses": ["127.0.0.1/8"]},
            ],
            "Spec": service["Spec"]["TaskTemplate"],
            "Status": now,
        }

    def holding(self, name: str, cards: int) -> dict[str, t.Any]:
        """Return a running task of somebody else's service, that holds cards of a node."""
        held = [{"NamedResourceSpec": {"Kind": "GPU", "Value": f"held-{number}"}} for number in range(cards)]
        return {
            "ID": f"foreign-{name}",
            "ServiceID": "foreign",
            "NodeID": f"id-{name}",
            "GenericResources": held,
            "Spec": {},
            "Status": status("running"),
        }

    def _answer(self) -> None:
        if self.failure:
            raise self.failure


def _pin(service: dict[str, t.Any]) -> str:
    constraints = service["Spec"]["TaskTemplate"]["Placement"]["Constraints"]
    return next((text.removeprefix("node.id==") for text in constraints if text.startswith("node.id==")), "")
