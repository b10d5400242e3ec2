"""One call that settles a stack: look, compare, act where something differs, wait, and take away what is left over.

Stands on the sections Service, Task, Network, Secret and Config of https://docs.docker.com/reference/api/engine/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
from collections.abc import Iterator

from ansible.module_utils.swarmhub import network as networks
from ansible.module_utils.swarmhub import stack_content as content
from ansible.module_utils.swarmhub import stack_wait as convergence
from ansible.module_utils.swarmhub.compose import Stack, read_stack
from ansible.module_utils.swarmhub.compose_reader import interpolated
from ansible.module_utils.swarmhub.engine import Engine, EngineError
from ansible.module_utils.swarmhub.network import STACK_LABEL
from ansible.module_utils.swarmhub.stack_services import Login, Step, is_own, list_services, plan_services, submit, undo


class StackError(Exception):
    """The stack cannot be settled; ``result`` says how far it came."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done. ``before`` and ``after`` hold what differs, never a secret."""

    changed: bool = False
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    services: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    networks: list[str] = dataclasses.field(default_factory=list)
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    configs: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def note(self, kind: str, name: str, before: t.Any, after: t.Any) -> None:
        """Record one difference."""
        self.changed = True
        self.before.setdefault(kind, {})[name] = before
        self.after.setdefault(kind, {})[name] = after


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller asks for; the options of module ``swarm_stack``. ``timeout`` is in seconds."""

    name: str
    compose: object = None
    environment: dict[str, t.Any] | None = None
    secrets: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    configs: dict[str, str] = dataclasses.field(default_factory=dict)
    registry_auth: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict, repr=False)
    prune: bool = True
    wait: bool = True
    timeout: float = 300
    rollback: bool = False
    check: bool = False

    def mapping(self) -> object:
        """The compose mapping with its variables replaced; without an ``environment`` every ``$`` stays as it is."""
        return self.compose if self.environment is None else interpolated(self.compose, self.environment)


def deploy(engine: Engine, request: Request, clock: t.Any = time) -> Result:
    """Settle the stack.

    Raises:
        StackError: not a manager, an external object missing, no convergence.
        ComposeError: the compose mapping is wrong, or asks for what is not supported.
        NetworkError: a network would have to be made anew.
        EngineError: the engine refused to be looked at.
    """
    plan = _plan(engine, request)
    result = plan.result()
    if not request.check:
        _carry_out(engine, request, plan, result, clock)
    return result


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to be done, in its order: what is missing, the services, and what nobody uses then."""

    stack: Stack
    held: content.Inventory
    login: Login
    missing_networks: list[networks.NetworkSpec]
    missing_contents: list[content.Content]
    steps: list[Step]
    old_contents: list[content.Content]
    old_networks: list[dict[str, t.Any]]

    def result(self) -> Result:
        """The result, before it is known how the services fare."""
        result = Result(warnings=list(self.stack.warnings), networks=sorted(self.stack.networks))
        for item in self.stack.contents:
            getattr(result, item.kind)[item.key] = item.name
        for spec in self.missing_networks:
            result.note("networks", spec.name, "absent", spec.readable())
        for item in self.missing_contents:
            result.note(item.kind, item.name, "absent", "present")
        for step in self.steps:
            if step.action != "keep":
                result.note("services", step.name, step.before, step.after)
        for kind, name in [(item.kind, item.name) for item in self.old_contents] + [
            ("networks", live["Name"]) for live in self.old_networks
        ]:
            result.note(kind, name, "present", "absent")
        result.services = [{"name": step.name, "action": step.action} for step in self.steps]
        return result


def _plan(engine: Engine, request: Request) -> Plan:
    """Look at everything and compare."""
    cluster_id = _cluster_id(engine)
    stack = read_stack(request.name, request.mapping(), request.secrets, request.configs, cluster_id)
    held = content.Inventory(engine)
    live_networks = networks.swarm_networks(engine)
    login = Login(request.registry_auth, cluster_id)
    steps = plan_services(engine, stack, live_networks, login, request.prune)
    tidy = request.prune and request.wait
    return Plan(
        stack,
        held,
        login,
        _plan_networks(engine, stack, live_networks),
        _plan_contents(stack, held),
        steps,
        _leftovers(engine, stack, held, steps) if tidy else [],
        _leftover_networks(engine, stack, live_networks, steps) if tidy else [],
    )


def _carry_out(engine: Engine, request: Request, plan: Plan, result: Result, clock: t.Any) -> None:
    """Do what was planned, and wait until the services run."""
    for spec in plan.missing_networks:
        with _blame(f"network {spec.name}", result):
            networks.create(engine, spec, clock)
    for item in plan.missing_contents:
        with _blame(f"{item.kind}.{item.key}", result):
            plan.held.create(engine, item)
    for step in sorted(plan.steps, key=lambda step: step.action != "remove"):
        with _blame(f"service {step.name}", result):
            result.warnings += _submit(engine, step, plan, result, clock)
    if request.wait:
        _converge(engine, request, plan.steps, result, clock)
    for item in plan.old_contents:
        with _blame(f"{item.kind} {item.name}", result):
            engine.request("DELETE", f"/{item.kind}/{plan.held.identity(item.kind, item.name)}")
    for live in plan.old_networks:
        networks.remove(engine, live, request.timeout, clock)


def _submit(engine: Engine, step: Step, plan: Plan, result: Result, clock: t.Any) -> list[str]:
    """Carry out a step and return the engine's warnings.

    A network that the swarm has no longer is listed as long as a task that was on it is ending on this node; a service
    cannot be put on it, and it is made anew.
    """
    own = {spec.name: spec for spec in plan.stack.networks.values() if spec is not None}
    while True:
        try:
            return submit(engine, step, plan.held, plan.login, clock)
        except EngineError as error:
            gone = next((own.pop(name) for name in list(own) if f"network {name} not found" in error.message), None)
            if gone is None:
                raise
        networks.create_again(engine, gone, clock)
        result.note("networks", gone.name, "absent", gone.readable())


def remove(engine: Engine, request: Request, clock: t.Any = time) -> Result:
    """Take the stack away: its services, then the networks, secrets and configs that carry its label.

    Raises:
        StackError: something of the stack is used by a service of somebody else; nothing is touched.
        NetworkError: a network is still held after ``timeout`` seconds.
    """
    _cluster_id(engine)
    held = content.Inventory(engine)
    services = [service for service in list_services(engine, request.name) if is_own(service, request.name)]
    own = {service["ID"] for service in services}
    others = [service for service in engine.request("GET", "/services") or [] if service["ID"] not in own]
    nets = [
        item for item in networks.swarm_networks(engine) if (item.get("Labels") or {}).get(STACK_LABEL) == request.name
    ]
    contents = held.of_stack(request.name)
    _refuse_foreign_use(others, nets, contents)

    result = Result()
    found = [("services", service["Spec"]["Name"]) for service in services]
    found += [("networks", item["Name"]) for item in nets] + [(item.kind, item.name) for item in contents]
    for kind, name in found:
        result.note(kind, name, "present", "absent")
    result.services = [{"name": service["Spec"]["Name"], "action": "remove"} for service in services]
    if request.check:
        return result
    tasks = [task["ID"] for tasks in convergence.tasks_of(engine, services).values() for task in tasks]
    for service in services:
        engine.request("DELETE", f"/services/{service['ID']}")
    deadline = clock.monotonic() + request.timeout
    if request.wait and not convergence.wait_gone(engine, tasks, request.timeout, clock):
        message = f"stack {request.name}: containers still run {request.timeout:g} s after their services were removed"
        raise StackError(message, result)
    for item in nets:
        networks.remove(engine, item, max(0.0, deadline - clock.monotonic()), clock)
    for one in contents:
        engine.request("DELETE", f"/{one.kind}/{held.identity(one.kind, one.name)}")
    return result


def _cluster_id(engine: Engine) -> str:
    """The swarm's id, after making sure that this engine can answer for it."""
    swarm = engine.request("GET", "/info").get("Swarm") or {}
    if not swarm.get("ControlAvailable"):
        state = swarm.get("LocalNodeState", "inactive")
        raise StackError(f"this host is no swarm manager that can answer (swarm state {state}); run on a manager")
    identity: str = swarm["Cluster"]["ID"]
    return identity


def _plan_networks(engine: Engine, stack: Stack, live: list[dict[str, t.Any]]) -> list[networks.NetworkSpec]:
    """The networks to create; one that exists must be right, or be external."""
    missing = []
    for name, spec in stack.networks.items():
        found = networks.find(live, name)
        if spec is None:
            if found is None and name not in networks.PREDEFINED:
                raise StackError(f"external network {name} is not in this swarm; create it first")
        elif found is None:
            networks.check_overlap(spec, live)
            missing.append(spec)
        else:
            networks.refuse_difference(engine, spec, found)
    return missing


def _plan_contents(stack: Stack, held: content.Inventory) -> list[content.Content]:
    """The secrets and configs to create."""
    missing = [item for item in stack.contents if held.identity(item.kind, item.name) is None]
    for item in missing:
        if item.value is None:
            raise StackError(f"{item.kind}.{item.key}: external {item.name} is not in this swarm; create it first")
    return missing


def _leftovers(engine: Engine, stack: Stack, held: content.Inventory, steps: list[Step]) -> list[content.Content]:
    """Versions that belong to the stack and that no service will use when the steps are done."""
    wanted = {(item.kind, item.name) for item in stack.contents}
    unwanted = [item for item in held.of_stack(stack.name) if (item.kind, item.name) not in wanted]
    if not unwanted:
        return []
    own = {step.identity for step in steps}
    others = [item["Spec"] for item in engine.request("GET", "/services") or [] if item["ID"] not in own]
    used = content.used_by(others)
    return [item for item in unwanted if (item.kind, item.name) not in used]


def _leftover_networks(
    engine: Engine, stack: Stack, live: list[dict[str, t.Any]], steps: list[Step]
) -> list[dict[str, t.Any]]:
    """Networks that belong to the stack and that nobody will use when the steps are done."""
    own = {step.identity for step in steps}
    unwanted = [
        item
        for item in live
        if (item.get("Labels") or {}).get(STACK_LABEL) == stack.name and item["Name"] not in stack.networks
    ]
    return [item for item in unwanted if not networks.users_of(engine, item, besides=own)]


def _refuse_foreign_use(
    others: list[dict[str, t.Any]], nets: list[dict[str, t.Any]], contents: list[content.Content]
) -> None:
    targets = {item[key]: item["Name"] for item in nets for key in ("Id", "Name")}
    ours = {(item.kind, item.name) for item in contents}
    for service in others:
        spec = service["Spec"]
        attached = (spec["TaskTemplate"].get("Networks") or []) + (spec.get("Networks") or [])
        held = sorted({targets[item["Target"]] for item in attached if item["Target"] in targets})
        held += sorted(name for _, name in content.used_by([spec]) & ours)
        if held:
            name = spec["Name"]
            raise StackError(f"service {name} is not of this stack but uses its {', '.join(held)}; remove it first")


def _converge(engine: Engine, request: Request, steps: list[Step], result: Result, clock: t.Any) -> None:
    """Wait for the services; on failure say why, and restore what was before where that is asked for."""
    kept = [step for step in steps if step.action != "remove"]
    try:
        progress = convergence.wait(engine, {step.identity: step.fingerprint for step in kept}, request.timeout, clock)
    except convergence.NotConverged as failure:
        message = f"stack {request.name} does not converge: {failure}"
        _record(result, failure.progress)
        if request.rollback and any(step.action != "keep" for step in steps):
            message += f"; {_roll_back(engine, request, steps, clock)}"
        raise StackError(message, result) from failure
    _record(result, progress)


def _record(result: Result, progress: list[convergence.Progress]) -> None:
    counts = {item.name: {"running": item.running, "wanted": item.wanted} for item in progress}
    for service in result.services:
        service.update(counts.get(service["name"], {}))


def _roll_back(engine: Engine, request: Request, steps: list[Step], clock: t.Any) -> str:
    """Restore the previous specs, wait for them as long again, and say how it went."""
    restored = [undo(engine, step, clock) for step in steps if step.action != "keep"]
    names = ", ".join(step.name for step in steps if step.action != "keep")
    expected = {identity: fingerprint for identity, fingerprint in restored if identity}
    try:
        convergence.wait(engine, expected, request.timeout, clock)
    except convergence.NotConverged as failure:
        return f"rolled back {names}, but the previous state does not converge either: {failure}"
    return f"rolled back {names}"


@contextlib.contextmanager
def _blame(what: str, result: Result) -> Iterator[None]:
    """Name the thing that the engine refused."""
    try:
        yield
    except EngineError as error:
        raise StackError(f"{what}: {error.message}", result) from error
