"""What is the same, and what differs, between the service spec we ask for and the one that the engine holds.

The engine fills in defaults, turns names into ids and pins images to digests. Both specs are therefore read through
one table into the words of the compose format, with the engine's defaults, and compared there. A field that is set by
hand on the live service is seen even where we set none.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

Spec = dict[str, t.Any]
View = dict[str, t.Any]

FINGERPRINT_LABEL = "com.swarmhub.spec"
_CLI_LABEL = "com.docker.stack.image"  # a note of `docker stack deploy` to itself

_SECOND = 10**9


def _pairs(items: list[str]) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in items)


def _own_labels(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in (FINGERPRINT_LABEL, _CLI_LABEL)}


def _by_target(mounts: list[Spec]) -> dict[str, Spec]:
    return {mount["Target"]: _prune({**mount, "Target": None}) for mount in mounts}


def _files(name_key: str) -> t.Callable[[list[Spec]], dict[str, str]]:
    def read(items: list[Spec]) -> dict[str, str]:
        files = [(item[name_key], item["File"]) for item in items]
        return {file["Name"]: f"{name} {file['UID']}:{file['GID']} {file['Mode']:04o}" for name, file in files}

    return read


def _ports(ports: list[Spec]) -> list[str]:
    return sorted(
        f"{port.get('PublishedPort', 0)}:{port['TargetPort']}/{port.get('Protocol', 'tcp')} "
        f"{port.get('PublishMode', 'ingress')}"
        for port in ports
    )


def _duration(nanoseconds: int) -> str:
    for unit, length in (("s", _SECOND), ("ms", 10**6), ("us", 10**3)):
        if nanoseconds % length == 0:
            return f"{nanoseconds // length}{unit}"
    return f"{nanoseconds}ns"


def _size(size: int) -> str:
    for unit, length in (("G", 2**30), ("M", 2**20), ("k", 2**10)):
        if size and size % length == 0:
            return f"{size // length}{unit}"
    return str(size)


def _cpus(nano_cpus: int) -> float:
    return nano_cpus / 10**9


def _healthcheck(check: Spec) -> Spec:
    durations = ("Interval", "Timeout", "StartPeriod")
    return {key: _duration(value) if key in durations else value for key, value in _prune(check).items()}


def _generic(items: list[Spec]) -> list[str]:
    found = []
    for item in items:
        discrete, named = item.get("DiscreteResourceSpec"), item.get("NamedResourceSpec")
        found.append(f"{(discrete or named or {}).get('Kind')}={(discrete or named or {}).get('Value')}")
    return sorted(found)


def _ulimits(items: list[Spec]) -> dict[str, list[int]]:
    return {item["Name"]: [item.get("Soft", 0), item.get("Hard", 0)] for item in items}


def _spreads(items: list[Spec]) -> list[str]:
    return [item["Spread"]["SpreadDescriptor"] for item in items]


def _constraints(items: list[str]) -> list[str]:
    """Sorted, and blind to spaces around the operator."""
    return sorted("".join(item.split()) for item in items)


def _prune(value: t.Any) -> t.Any:
    """Without empty values, at any depth: the engine drops some of them and adds others."""
    if isinstance(value, dict):
        pruned = {key: _prune(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item not in (None, "", 0, [], {})}
    return value


# compose words -> path in the ServiceSpec, the engine's default, how to read it
_CONTAINER = ("TaskTemplate", "ContainerSpec")
_TASK = ("TaskTemplate",)
_LIMITS = ("TaskTemplate", "Resources", "Limits")
_RESERVATIONS = ("TaskTemplate", "Resources", "Reservations")
_FIELDS: dict[str, tuple[tuple[str, ...], t.Any, t.Callable[[t.Any], t.Any] | None]] = {
    "image": ((*_CONTAINER, "Image"), "", None),
    "entrypoint": ((*_CONTAINER, "Command"), [], None),
    "command": ((*_CONTAINER, "Args"), [], None),
    "environment": ((*_CONTAINER, "Env"), [], _pairs),
    "hostname": ((*_CONTAINER, "Hostname"), "", None),
    "user": ((*_CONTAINER, "User"), "", None),
    "working_dir": ((*_CONTAINER, "Dir"), "", None),
    "group_add": ((*_CONTAINER, "Groups"), [], None),
    "init": ((*_CONTAINER, "Init"), None, None),
    "tty": ((*_CONTAINER, "TTY"), False, None),
    "stdin_open": ((*_CONTAINER, "OpenStdin"), False, None),
    "read_only": ((*_CONTAINER, "ReadOnly"), False, None),
    "stop_grace_period": ((*_CONTAINER, "StopGracePeriod"), 10 * _SECOND, _duration),
    "stop_signal": ((*_CONTAINER, "StopSignal"), "", None),
    "labels": ((*_CONTAINER, "Labels"), {}, None),
    "volumes": ((*_CONTAINER, "Mounts"), [], _by_target),
    "secrets": ((*_CONTAINER, "Secrets"), [], _files("SecretName")),
    "configs": ((*_CONTAINER, "Configs"), [], _files("ConfigName")),
    "healthcheck": ((*_CONTAINER, "Healthcheck"), {}, _healthcheck),
    "cap_add": ((*_CONTAINER, "CapabilityAdd"), [], sorted),
    "cap_drop": ((*_CONTAINER, "CapabilityDrop"), [], sorted),
    "sysctls": ((*_CONTAINER, "Sysctls"), {}, None),
    "ulimits": ((*_CONTAINER, "Ulimits"), [], _ulimits),
    "extra_hosts": ((*_CONTAINER, "Hosts"), [], sorted),
    "dns": ((*_CONTAINER, "DNSConfig"), {}, _prune),
    "security_opt": ((*_CONTAINER, "Privileges"), {}, _prune),
    "logging": ((*_TASK, "LogDriver"), {}, _prune),
    "networks": ((*_TASK, "Networks"), [], None),
    "deploy.labels": (("Labels",), {}, _own_labels),
    "deploy.mode": (("Mode",), {}, lambda mode: next(iter(mode), "").lower()),
    "deploy.replicas": (("Mode", "Replicated", "Replicas"), None, None),
    "deploy.endpoint_mode": (("EndpointSpec", "Mode"), "vip", None),
    "ports": (("EndpointSpec", "Ports"), [], _ports),
    "deploy.placement.constraints": ((*_TASK, "Placement", "Constraints"), [], _constraints),
    "deploy.placement.preferences": ((*_TASK, "Placement", "Preferences"), [], _spreads),
    "deploy.placement.max_replicas_per_node": ((*_TASK, "Placement", "MaxReplicas"), 0, None),
    "deploy.resources.limits.cpus": ((*_LIMITS, "NanoCPUs"), 0, _cpus),
    "deploy.resources.limits.memory": ((*_LIMITS, "MemoryBytes"), 0, _size),
    "deploy.resources.limits.pids": ((*_LIMITS, "Pids"), 0, None),
    "deploy.resources.reservations.cpus": ((*_RESERVATIONS, "NanoCPUs"), 0, _cpus),
    "deploy.resources.reservations.memory": ((*_RESERVATIONS, "MemoryBytes"), 0, _size),
    "deploy.resources.reservations.generic_resources": ((*_RESERVATIONS, "GenericResources"), [], _generic),
    "deploy.restart_policy.condition": ((*_TASK, "RestartPolicy", "Condition"), "any", None),
    "deploy.restart_policy.delay": ((*_TASK, "RestartPolicy", "Delay"), 5 * _SECOND, _duration),
    "deploy.restart_policy.max_attempts": ((*_TASK, "RestartPolicy", "MaxAttempts"), 0, None),
    "deploy.restart_policy.window": ((*_TASK, "RestartPolicy", "Window"), 0, _duration),
}
for _key, _section in (("deploy.update_config", "UpdateConfig"), ("deploy.rollback_config", "RollbackConfig")):
    _FIELDS |= {
        f"{_key}.parallelism": ((_section, "Parallelism"), 1, None),
        f"{_key}.delay": ((_section, "Delay"), 0, _duration),
        f"{_key}.failure_action": ((_section, "FailureAction"), "pause", None),
        f"{_key}.monitor": ((_section, "Monitor"), 5 * _SECOND, _duration),
        f"{_key}.max_failure_ratio": ((_section, "MaxFailureRatio"), 0, None),
        f"{_key}.order": ((_section, "Order"), "stop-first", None),
    }


def _at(spec: Spec, path: tuple[str, ...]) -> t.Any:
    """The value at a path, ``None`` when there is none."""
    value: t.Any = spec
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def view(spec: Spec, network_names: dict[str, str]) -> View:
    """The spec in compose words; ``network_names`` maps the ids of networks to their names."""
    words = {}
    for field, (path, default, read) in _FIELDS.items():
        value = _at(spec, path)
        if value is None:
            value = default
        words[field] = read(value) if read and value is not None else value
    words["networks"] = {
        network_names.get(item["Target"], item["Target"]): sorted(item.get("Aliases") or [])
        for item in words["networks"]
    }
    return words


def readable(words: View) -> View:
    """The fields of a view that are not the engine's defaults, for the diff of a new service."""
    defaults = view({}, {})
    return {field: value for field, value in words.items() if value != defaults[field]}


def differences(live: View, wanted: View) -> dict[str, tuple[t.Any, t.Any]]:
    """``{field: (is, wanted)}``. A digest that the engine added to an image we named by tag is no difference."""
    found = {}
    for field, value in wanted.items():
        now = live[field]
        if field == "image" and "@" not in value:
            now = now.partition("@")[0]
        if now != value:
            found[field] = (now, value)
    return found


def fingerprint_of(spec: Spec) -> str:
    """The fingerprint that a spec carries, empty when it has none."""
    return str((spec.get("Labels") or {}).get(FINGERPRINT_LABEL, ""))


def fingerprint(words: View, registry_login: str) -> str:
    """What the label ``com.swarmhub.spec`` holds: a hash of all that we ask for.

    The engine keeps the registry's login to itself; its (slow, salted) hash goes in here, so that a changed password
    reaches the nodes.
    """
    text = json.dumps([words, registry_login], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
