"""Swarm networks: compare, create, remove (https://docs.docker.com/reference/api/engine/, section Network).

A swarm network cannot be changed, only made anew, and the engine refuses to remove one that a service still names.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import time
import typing as t

from ansible.module_utils.swarmhub.engine import Engine, EngineError

MTU_OPTION = "com.docker.network.driver.mtu"
STACK_LABEL = "com.docker.stack.namespace"
_VXLAN_OPTION = "com.docker.network.driver.overlay.vxlanid_list"  # chosen by the swarm
_ALLOCATION_SECONDS = 15.0
_ENDING_SECONDS = 60.0
_NAME_TAKEN = 409  # HTTP's Conflict
#: Every node's own networks, on which services may be as well. The swarm gives them ids that GET /networks leaves out.
PREDEFINED = ("bridge", "host")

Live = dict[str, t.Any]


class NetworkError(Exception):
    """A network cannot be brought into the wanted state; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """What a network should be. Without ``subnets`` or ``gateway`` the swarm chooses them, and any are right."""

    name: str
    driver: str = "overlay"
    attachable: bool = False
    internal: bool = False
    driver_opts: dict[str, str] = dataclasses.field(default_factory=dict)
    subnets: tuple[str, ...] = ()
    gateway: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    #: What to do when the network would have to be made anew.
    cure: str = ""

    def __post_init__(self) -> None:
        try:
            for subnet in self.subnets:
                ipaddress.ip_network(subnet)
        except ValueError as error:
            raise NetworkError(f"network {self.name}: {error}") from error
        if self.gateway and len(self.subnets) != 1:
            raise NetworkError(f"network {self.name}: a gateway needs exactly one subnet")

    def readable(self) -> dict[str, t.Any]:
        """The spec as a person reads it in a diff."""
        return {field: value for field, value in self._fields().items() if value}

    def _fields(self) -> dict[str, t.Any]:
        labels = {key: value for key, value in self.labels.items() if key != STACK_LABEL}
        return {
            "driver": self.driver,
            "attachable": self.attachable,
            "internal": self.internal,
            "driver_opts": dict(self.driver_opts),
            "subnets": sorted(self.subnets),
            "gateway": self.gateway,
            "labels": labels,
        }

    def differences(self, live: Live) -> dict[str, tuple[t.Any, t.Any]]:
        """The fields that differ, as ``{field: (is, wanted)}``; the stack's bookkeeping label does not count."""
        blocks = live["IPAM"].get("Config") or []
        now = {
            "driver": live["Driver"],
            "attachable": live.get("Attachable", False),
            "internal": live.get("Internal", False),
            "driver_opts": {key: text for key, text in (live.get("Options") or {}).items() if key != _VXLAN_OPTION},
            "labels": {key: text for key, text in (live.get("Labels") or {}).items() if key != STACK_LABEL},
        }
        if self.subnets:
            now["subnets"] = sorted(block["Subnet"] for block in blocks)
        if self.gateway:
            now["gateway"] = blocks[0].get("Gateway", "") if blocks else ""
        wanted = self._fields()
        return {field: (value, wanted[field]) for field, value in now.items() if value != wanted[field]}


def swarm_networks(engine: Engine) -> list[Live]:
    """All networks of the swarm, as a manager sees them."""
    return [network for network in engine.request("GET", "/networks") or [] if network.get("Scope") == "swarm"]


def find(networks: list[Live], name: str) -> Live | None:
    """The network of that name."""
    return next((network for network in networks if network["Name"] == name), None)


def users_of(engine: Engine, live: Live, besides: t.Collection[str] = ()) -> list[str]:
    """Who is on the network: services, each with the nodes of its tasks, and containers outside of services.

    Services whose id is in ``besides`` are left out.
    """
    hosts = {node["ID"]: node["Description"]["Hostname"] for node in engine.request("GET", "/nodes") or []}
    # Without this filter the engine leaves the containers out.
    runtimes = {"filters": json.dumps({"runtime": ["container", "attachment"]})}
    running = [
        task
        for task in engine.request("GET", "/tasks", params=runtimes) or []
        if task["Status"]["State"] == "running"
        and live["Id"] in [item["Network"]["ID"] for item in task.get("NetworksAttachments") or []]
    ]
    found = [
        f"container {task['Spec']['NetworkAttachmentSpec']['ContainerID'][:12]} on {hosts.get(task['NodeID'], '?')}"
        for task in running
        if "NetworkAttachmentSpec" in task["Spec"]
    ]
    for service in engine.request("GET", "/services") or []:
        spec = service["Spec"]
        attached = (spec["TaskTemplate"].get("Networks") or []) + (spec.get("Networks") or [])
        named = {network["Target"] for network in attached} & {live["Id"], live["Name"]}
        if named and service["ID"] not in besides:
            on = sorted(hosts.get(task["NodeID"], "?") for task in running if task.get("ServiceID") == service["ID"])
            found.append(f"service {spec['Name']} ({'tasks on ' + ', '.join(on) if on else 'no task runs'})")
    return sorted(found)


def check_overlap(spec: NetworkSpec, networks: list[Live]) -> None:
    """Refuse a subnet that another network of the swarm holds: the engine would take it and never serve it."""
    for wanted in map(ipaddress.ip_network, spec.subnets):
        for other in networks:
            if other["Name"] == spec.name:
                continue
            for block in other["IPAM"].get("Config") or []:
                held = ipaddress.ip_network(block["Subnet"])
                if held.version == wanted.version and held.overlaps(wanted):
                    raise NetworkError(
                        f"network {spec.name}: {wanted} overlaps {held} of network {other['Name']}; choose another"
                    )


def refuse_difference(engine: Engine, spec: NetworkSpec, live: Live) -> None:
    """Fail when the network is not what it should be, naming the differences and the services on it."""
    differences = spec.differences(live)
    if differences:
        words = "; ".join(f"{field} is {was!r}, wanted {wanted!r}" for field, (was, wanted) in differences.items())
        users = ", ".join(users_of(engine, live)) or "nobody"
        cure = f"; {spec.cure}" if spec.cure else ""
        raise NetworkError(f"network {spec.name} would have to be made anew ({words}); on it: {users}{cure}")


def create(engine: Engine, spec: NetworkSpec, clock: t.Any = time) -> str:
    """Create the network, wait until the swarm has given it its addresses, and return its id.

    Raises:
        NetworkError: the swarm could not serve it within 15 s; it is removed again.
    """
    pool: list[dict[str, str]] = [{"Subnet": subnet} for subnet in spec.subnets]
    if spec.gateway:
        pool[0]["Gateway"] = spec.gateway
    body: dict[str, t.Any] = {
        "Name": spec.name,
        "CheckDuplicate": True,
        "Driver": spec.driver,
        "Scope": "swarm",
        "Attachable": spec.attachable,
        "Internal": spec.internal,
        "Options": spec.driver_opts,
        "Labels": spec.labels,
    }
    if pool:
        body["IPAM"] = {"Driver": "default", "Config": pool}
    identity: str = engine.request("POST", "/networks/create", body=body)["Id"]
    deadline = clock.monotonic() + _ALLOCATION_SECONDS
    while clock.monotonic() < deadline:
        if engine.request("GET", f"/networks/{identity}")["IPAM"].get("Config"):
            return identity
        clock.sleep(0.2)
    engine.request("DELETE", f"/networks/{identity}")
    raise NetworkError(
        f"network {spec.name}: the swarm gave it no addresses; its subnet overlaps another one, or the pool is used up"
    )


def create_again(engine: Engine, spec: NetworkSpec, clock: t.Any = time) -> str:
    """Create a network that is gone, and return its id; tasks that are just ending may keep its name on this node.

    Raises:
        NetworkError: as ``create``.
        EngineError: the name is still taken after 60 s, or the engine refused.
    """
    deadline = clock.monotonic() + _ENDING_SECONDS
    while True:
        try:
            return create(engine, spec, clock)
        except EngineError as error:
            if error.status != _NAME_TAKEN or clock.monotonic() >= deadline:
                raise
        clock.sleep(0.5)


def remove(engine: Engine, live: Live, timeout: float, clock: t.Any = time) -> None:
    """Remove the network; tasks that are just ending may hold it for a while.

    Raises:
        NetworkError: it is still there after ``timeout`` seconds.
    """
    deadline = clock.monotonic() + timeout
    while True:
        try:
            engine.request("DELETE", f"/networks/{live['Id']}")
        except EngineError as error:
            if error.status == 404:
                return
            if clock.monotonic() >= deadline:
                message = f"network {live['Name']} cannot be removed after {timeout:g} s: {error.message}"
                raise NetworkError(message) from error
        clock.sleep(0.5)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was, or in check mode would be, done to one network."""

    changed: bool
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    identity: str = ""


def settle(
    engine: Engine,
    spec: NetworkSpec,
    *,
    present: bool = True,
    allow_recreate: bool = False,
    check: bool = False,
    timeout: float = 60,
    clock: t.Any = time,
) -> Outcome:
    """Bring one network into the wanted state; ``timeout`` in seconds bounds its removal.

    Raises:
        NetworkError: a difference, or a removal, that services forbid.
        EngineError: the engine refused.
    """
    networks = swarm_networks(engine)
    live = find(networks, spec.name)
    if not present:
        if live is None:
            return Outcome(False, {}, {})
        _refuse_users(engine, live, "cannot be removed")
        if not check:
            remove(engine, live, timeout, clock)
        return Outcome(True, {spec.name: "present"}, {spec.name: "absent"})
    check_overlap(spec, networks)
    if live is None:
        identity = "" if check else create(engine, spec, clock)
        return Outcome(True, {spec.name: "absent"}, {spec.name: spec.readable()}, identity)
    differences = spec.differences(live)
    if not differences:
        return Outcome(False, {}, {}, live["Id"])
    if not allow_recreate:
        refuse_difference(engine, spec, live)
    _refuse_users(engine, live, "cannot be made anew")
    if not check:
        remove(engine, live, timeout, clock)
    identity = "" if check else create(engine, spec, clock)
    before = {field: was for field, (was, _) in differences.items()}
    after = {field: wanted for field, (_, wanted) in differences.items()}
    return Outcome(True, {spec.name: before}, {spec.name: after}, identity)


def _refuse_users(engine: Engine, live: Live, what: str) -> None:
    """The engine removes no network that somebody uses: say so before anything is touched."""
    users = users_of(engine, live)
    if users:
        raise NetworkError(f"network {live['Name']} {what} while somebody is on it; remove first: {', '.join(users)}")
