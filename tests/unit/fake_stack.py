"""A swarm in memory, for what stacks and networks need; it answers as a real engine (20.10, API 1.41) was seen to.

Images steer what tasks do: ``missing:*`` is not found, ``crash:*`` exits with code 1, any other runs. The reservation
of more than ``memory`` bytes, or a constraint on a label, stays pending. Time is the fake's own clock.
"""

from __future__ import annotations

import json
import time
import typing as t

from ansible.module_utils.swarmhub.engine import EngineError

Live = dict[str, t.Any]
PREDEFINED = {"Id": "bridge-of-all-nodes", "Name": "bridge", "Scope": "swarm"}


class FakeSwarm:
    """One manager. ``writes`` lists every request that was not a GET, ``now`` is its clock in seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.info: Live = {
            "Swarm": {"ControlAvailable": True, "LocalNodeState": "active", "Cluster": {"ID": "cluster"}}
        }
        self.memory = 2**30
        self.node_state = "ready"  # of the only node; nothing that is on it ends while it is Down
        self.out_of_sequence = 0  # so many updates are refused
        self.services: dict[str, Live] = {}
        self.tasks: list[Live] = []
        self.networks: dict[str, Live] = {}
        self.contents: dict[str, dict[str, Live]] = {"secrets": {}, "configs": {}}
        self.writes: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self._last = 0

    # the clock
    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    # the engine
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Live | None = None,
        body: t.Any = None,
        headers: dict[str, str] | None = None,
    ) -> t.Any:
        if method != "GET":
            self.writes.append((method, path))
        filters = json.loads((params or {}).get("filters", "{}"))
        kind, _, rest = path.strip("/").partition("/")
        fixed = {
            "info": self.info,
            "nodes": [{"ID": "node1", "Description": {"Hostname": "gpu1"}, "Status": {"State": self.node_state}}],
        }
        if kind in fixed:
            return fixed[kind]
        if kind in self.contents:
            return self._content(method, kind, rest, body)
        if kind == "networks":
            return self._network(method, rest, body)
        if kind == "tasks":
            wanted = filters.get("service") or [task["ServiceID"] for task in self.tasks]
            known = [task for task in self.tasks if task["ServiceID"] in wanted]
            return [task for task in known if task["ID"] in filters.get("id", [task["ID"]])]
        if headers:
            self.headers.append(headers)
        return self._service(method, rest, body, params or {}, filters)

    def _id(self) -> str:
        self._last += 1
        return f"id{self._last:04d}"

    def _stamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.now)) + f".{self._last:09d}Z"

    def _refuse(self, status: int, message: str) -> t.NoReturn:
        raise EngineError("", "", status, message)

    def _content(self, method: str, kind: str, rest: str, body: Live) -> t.Any:
        held = self.contents[kind]
        if method == "GET":
            return [{**item, "Spec": _without(item["Spec"], "Data")} for item in held.values()]
        if method == "POST":
            identity = self._id()
            held[identity] = {"ID": identity, "Spec": body}
            return {"ID": identity}
        list_key, id_key = {"secrets": ("Secrets", "SecretID"), "configs": ("Configs", "ConfigID")}[kind]
        for service in self.services.values():
            container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
            if rest in [item[id_key] for item in container.get(list_key) or []]:
                self._refuse(400, f"{kind} is in use by the following service: {service['Spec']['Name']}")
        del held[rest]
        return None

    def _network(self, method: str, rest: str, body: Live) -> t.Any:
        if method == "GET":
            if rest == PREDEFINED["Id"]:  # which is not in the list
                return PREDEFINED
            return list(self.networks.values()) if not rest else self.networks[rest]
        if method == "POST":
            identity = self._id()
            pool = body.get("IPAM", {}).get("Config") or [{"Subnet": f"10.0.{self._last}.0/24"}]
            network = {key: body[key] for key in ("Name", "Driver", "Attachable", "Internal", "Labels")}
            options = {**body["Options"], "com.docker.network.driver.overlay.vxlanid_list": "4097"}
            network |= {"Id": identity, "Scope": "swarm", "Options": options, "IPAM": {"Config": pool}}
            self.networks[identity] = network
            return {"Id": identity}
        if rest not in self.networks:
            self._refuse(404, "network not found")
        del self.networks[rest]
        return None

    def _service(self, method: str, rest: str, body: Live, params: Live, filters: Live) -> t.Any:
        identity = rest.partition("/")[0]
        if method == "DELETE":
            del self.services[identity]
            if self.node_state == "ready":
                self.tasks = [task for task in self.tasks if task["ServiceID"] != identity]
            return None
        if method == "GET" and rest:
            return self.services[identity]
        if method == "GET":
            found = [item for item in self.services.values() if item["ID"] in filters.get("id", [item["ID"]])]
            prefixes = tuple(filters.get("name", [""]))
            return json.loads(json.dumps([item for item in found if item["Spec"]["Name"].startswith(prefixes)]))
        if rest == "create":
            if body["Name"] in [item["Spec"]["Name"] for item in self.services.values()]:
                self._refuse(409, "rpc error: code = AlreadyExists desc = name conflicts with an existing object")
            identity = self._id()
            self.services[identity] = {"ID": identity, "Version": {"Index": 0}}
        elif self.out_of_sequence or params["version"] != self.services[identity]["Version"]["Index"]:
            self.out_of_sequence = max(0, self.out_of_sequence - 1)
            self.services[identity]["Version"]["Index"] += 1
            self._refuse(500, "rpc error: code = Unknown desc = update out of sequence")
        self._settle(self.services[identity], body)
        return {"ID": identity} if rest == "create" else {"Warnings": None}

    def _settle(self, service: Live, spec: Live) -> None:
        """Take the spec over as the engine does, and start tasks where the template changed."""
        spec = json.loads(json.dumps(spec))
        template = spec["TaskTemplate"]
        if "Placement" in template:
            template["Placement"] = {key: value for key, value in template["Placement"].items() if value}
        template["ContainerSpec"]["Isolation"] = "default"
        template["Runtime"] = "container"
        ids = {network["Name"]: network["Id"] for network in (*self.networks.values(), PREDEFINED)}
        for attachment in template.get("Networks") or []:
            attachment["Target"] = ids.get(attachment["Target"], attachment["Target"])
        before = service.get("Spec", {}).get("TaskTemplate")
        service.pop("UpdateStatus", None)
        service.update(Spec=spec, UpdatedAt=self._stamp())
        service["Version"]["Index"] += 1
        replicas = spec["Mode"].get("Replicated", {"Replicas": 1})["Replicas"]
        mine = [task for task in self.tasks if task["ServiceID"] == service["ID"]]
        if before != template or len([task for task in mine if task["DesiredState"] == "running"]) != replicas:
            for task in mine:
                task["DesiredState"], task["Status"]["State"] = "shutdown", "shutdown"
            for slot in range(1, replicas + 1):
                self._start(service, template, slot)

    def _start(self, service: Live, template: Live, slot: int) -> None:
        image = template["ContainerSpec"]["Image"]
        reserved = (template.get("Resources") or {}).get("Reservations", {}).get("MemoryBytes", 0)
        constrained = any("node.labels" in item for item in template.get("Placement", {}).get("Constraints", []))
        is_global = "Global" in service["Spec"]["Mode"]
        if constrained and is_global:
            return
        status = {"State": "running", "Message": "started"}
        if constrained or reserved > self.memory:
            why = "scheduling constraints not satisfied" if constrained else "insufficient resources"
            status = {"State": "pending", "Message": "pending", "Err": f"no suitable node ({why} on 1 node)"}
        elif image.startswith("missing"):
            status = {"State": "rejected", "Message": "preparing", "Err": f"No such image: {image}"}
        elif image.startswith("crash"):
            status = {"State": "failed", "Message": "started", "Err": "task: non-zero exit (1)"}
        ended = status["State"] in ("failed", "rejected")
        self.tasks.append(
            {
                "ID": self._id(),
                "ServiceID": service["ID"],
                "CreatedAt": self._stamp(),
                **({} if status["State"] == "pending" else {"NodeID": "node1"}),
                "NetworksAttachments": [{"Network": {"ID": item["Target"]}} for item in template.get("Networks") or []],
                **({} if is_global else {"Slot": slot}),
                "Spec": {key: value for key, value in template.items() if key != "Runtime"},
                "DesiredState": "shutdown" if ended else "running",
                "Status": {"Timestamp": self._stamp(), **status},
            }
        )

    # what tests ask
    def names(self, kind: str) -> list[str]:
        """The names of all secrets, configs or services."""
        held = self.services if kind == "services" else self.contents[kind]
        return sorted(item["Spec"]["Name"] for item in held.values())

    def service(self, name: str) -> Live:
        """One live service."""
        return next(item for item in self.services.values() if item["Spec"]["Name"] == name)


def _without(mapping: Live, key: str) -> Live:
    return {name: value for name, value in mapping.items() if name != key}
