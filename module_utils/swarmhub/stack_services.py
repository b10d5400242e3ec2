"""The services of a stack: which are to be made, changed, started again or removed, and doing so."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t

from ansible.module_utils.swarmhub import stack_spec
from ansible.module_utils.swarmhub.compose import Stack
from ansible.module_utils.swarmhub.compose_reader import ComposeError
from ansible.module_utils.swarmhub.engine import Engine, EngineError
from ansible.module_utils.swarmhub.network import STACK_LABEL
from ansible.module_utils.swarmhub.stack_content import Inventory, fill_ids, secret_hash
from ansible.module_utils.swarmhub.stack_wait import has_given_up, is_paused, tasks_of

Live = dict[str, t.Any]
Action = t.Literal["create", "update", "resume", "remove", "keep"]

# Fields of stack_spec.view that a running task cannot follow.
PUBLISHING = {"ports", "deploy.endpoint_mode"}
_ATTEMPTS = 5
_DOCKER_HUB = "docker.io"


@dataclasses.dataclass
class Step:
    """What happens to one service. ``resume`` starts again what the engine gave up, without another spec."""

    name: str
    action: Action
    before: t.Any = None
    after: t.Any = None
    spec: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    live: Live | None = None
    identity: str = ""

    @property
    def fingerprint(self) -> str:
        """The label that the live service will have."""
        return stack_spec.fingerprint_of(self.spec)


class Login:
    """The logins at private registries, ``{registry: {username, password}}``."""

    def __init__(self, registries: dict[str, dict[str, str]], cluster_id: str) -> None:
        for registry, login in registries.items():
            if not isinstance(login, dict) or set(login) != {"username", "password"}:
                raise ComposeError(f"registry_auth.{registry}", "expected a mapping of username and password")
        self._registries = registries
        self._hashes = {
            registry: secret_hash(json.dumps(login, sort_keys=True), f"{cluster_id}/{registry}")
            for registry, login in registries.items()
        }

    def headers(self, image: str) -> dict[str, str]:
        """What tells the engine the login for the image."""
        registry = _registry(image)
        login = self._registries.get(registry)
        if login is None:
            return {}
        text = json.dumps({**login, "serveraddress": registry})
        return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}

    def digest(self, image: str) -> str:
        """A hash that changes with the login for the image."""
        return self._hashes.get(_registry(image), "")


def _registry(image: str) -> str:
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else _DOCKER_HUB


def list_services(engine: Engine, stack: str) -> list[Live]:
    """The services whose names begin as the stack's do; :func:`is_own` tells its own from others."""
    return engine.request("GET", "/services", params={"filters": json.dumps({"name": [f"{stack}_"]})}) or []


def is_own(service: Live, stack: str) -> bool:
    """The service carries the stack's label."""
    return bool((service["Spec"].get("Labels") or {}).get(STACK_LABEL) == stack)


def plan_services(engine: Engine, stack: Stack, live_networks: list[Live], login: Login, prune: bool) -> list[Step]:
    """Compare the wanted services with the live ones."""
    named_alike = list_services(engine, stack.name)
    services = [service for service in named_alike if is_own(service, stack.name)]
    names = _network_names(engine, live_networks, services)
    for service in named_alike:
        name = service["Spec"]["Name"]
        if service not in services and name in stack.services:
            raise ComposeError(f"services.{name}", "a service of this name exists that is not of this stack; remove it")
    tasks = tasks_of(engine, services)
    live_by_name = {service["Spec"]["Name"]: service for service in services}
    steps = [
        _plan_one(spec, live_by_name.get(name), tasks, names, login) for name, spec in sorted(stack.services.items())
    ]
    for name, live in sorted(live_by_name.items()):
        if prune and name not in stack.services:
            steps.append(Step(name, "remove", "present", "absent", live=live, identity=live["ID"]))
    return steps


def _network_names(engine: Engine, live_networks: list[Live], services: list[Live]) -> dict[str, str]:
    """The names of networks by id; of those that the engine does not list, such as ``bridge``, the services' own."""
    names = {item["Id"]: item["Name"] for item in live_networks}
    for service in services:
        for attached in service["Spec"]["TaskTemplate"].get("Networks") or []:
            target = attached["Target"]
            if target not in names:
                names[target] = engine.request("GET", f"/networks/{target}")["Name"]
    return names


def _plan_one(
    wanted: dict[str, t.Any], live: Live | None, tasks: dict[str, list[Live]], names: dict[str, str], login: Login
) -> Step:
    name = wanted["Name"]
    words = stack_spec.view(wanted, names)
    print_ = stack_spec.fingerprint(words, login.digest(words["image"]))
    spec = {**wanted, "Labels": {**wanted["Labels"], stack_spec.FINGERPRINT_LABEL: print_}}
    if live is None:
        return Step(name, "create", "absent", stack_spec.readable(words), spec)
    step = Step(name, "keep", spec=spec, live=live, identity=live["ID"])
    now = stack_spec.view(live["Spec"], names)
    found = stack_spec.differences(now, words)
    if now["deploy.mode"] != words["deploy.mode"]:
        raise ComposeError(
            f"services.{name}.deploy.mode", f"the engine cannot change {now['deploy.mode']!r}; remove the service first"
        )
    old_print = stack_spec.fingerprint_of(live["Spec"])
    if old_print != print_ and not found:
        found["fingerprint"] = (old_print, print_)
    given_up = has_given_up(live, tasks[live["ID"]])
    # A template that differs makes the engine start again what it gave up; and tasks with new ports, which it leaves as
    # they are where of their template the constraints alone are new (swarmkit, manager/orchestrator, IsTaskDirty).
    forced = given_up or not PUBLISHING.isdisjoint(found)
    spec["TaskTemplate"] = {**spec["TaskTemplate"], "ForceUpdate": _force_update(live) + forced}
    if found:
        step.action = "update"
        step.before = {field: was for field, (was, _) in found.items()}
        step.after = {field: is_ for field, (_, is_) in found.items()}
    elif is_paused(live):
        step.action, step.before, step.after = "resume", "update paused", "update resumed"
    elif given_up:
        step.action, step.before, step.after = "resume", "given up by the engine", "started again"
    return step


def _force_update(live: Live) -> int:
    return int(live["Spec"]["TaskTemplate"].get("ForceUpdate") or 0)


def submit(engine: Engine, step: Step, held: Inventory, login: Login, clock: t.Any) -> list[str]:
    """Carry out a step and return the engine's warnings."""
    if step.action == "keep":
        return []
    if step.action == "remove":
        engine.request("DELETE", f"/services/{step.identity}")
        return []
    spec = fill_ids(step.spec, held)
    headers = login.headers(spec["TaskTemplate"]["ContainerSpec"]["Image"])
    if step.live is None:
        answer = engine.request("POST", "/services/create", body=spec, headers=headers)
        step.identity = answer["ID"]
    else:
        answer = _update(engine, step.live, spec, headers, clock)
    warnings = (answer or {}).get("Warnings") or [(answer or {}).get("Warning")]
    return [f"service {step.name}: {warning}" for warning in warnings if warning]


def _update(engine: Engine, live: Live, spec: dict[str, t.Any], headers: dict[str, str], clock: t.Any) -> t.Any:
    """Update, again with a fresh version where the swarm itself touched the service meanwhile."""
    for attempt in range(_ATTEMPTS):
        params = {"version": live["Version"]["Index"]}
        try:
            return engine.request("POST", f"/services/{live['ID']}/update", params=params, body=spec, headers=headers)
        except EngineError as error:
            if "update out of sequence" not in error.message or attempt == _ATTEMPTS - 1:
                raise
        clock.sleep(0.2 * (attempt + 1))
        live = engine.request("GET", f"/services/{live['ID']}")
    raise AssertionError("unreachable")


def undo(engine: Engine, step: Step, clock: t.Any) -> tuple[str, str]:
    """Bring a service back to what it was before the step; return its id (empty: gone) and fingerprint."""
    if step.live is None:
        engine.request("DELETE", f"/services/{step.identity}")
        return "", ""
    spec = step.live["Spec"]
    if step.action == "remove":
        identity = engine.request("POST", "/services/create", body=spec)["ID"]
    else:
        identity = step.identity
        _update(engine, engine.request("GET", f"/services/{identity}"), spec, {}, clock)
    return identity, stack_spec.fingerprint_of(spec)
