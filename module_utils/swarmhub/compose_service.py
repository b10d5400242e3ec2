"""One service of a compose mapping as a ServiceSpec of the Docker Engine API: placement, networks, ports, updates.

What concerns the container alone is in ``compose_container``. Specs are explicit: where compose has a default of its
own it is written out, so that the spec means the same on every engine version.
"""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.swarmhub.compose_container import Names, container_spec
from ansible.module_utils.swarmhub.compose_reader import ComposeError, Section, duration, nano_cpus, size
from ansible.module_utils.swarmhub.network import STACK_LABEL

Spec = dict[str, t.Any]

_SECOND = 10**9
_WITHOUT_EFFECT = {
    "container_name": "swarm names containers after their tasks",
    "expose": "services on one network reach all of each other's ports",
}
_SHORT_PORT = re.compile(r"(?:(?P<published>\d+(?:-\d+)?):)?(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp|sctp))?")


def service_spec(key: str, section: Section, names: Names) -> Spec:
    """Translate one service.

    Raises:
        ComposeError: for the first key that is wrong or not supported.
    """
    for word, reason in _WITHOUT_EFFECT.items():
        if section.take(word) is not None:
            names.warnings.append(f"{section.at(word)}: has no effect, {reason}")
    deploy = section.section("deploy")
    labels = {STACK_LABEL: names.stack}
    task: Spec = {
        "ContainerSpec": container_spec(section, names, labels),
        "Networks": _networks(key, section, names),
        "Resources": _resources(deploy.section("resources")),
        "RestartPolicy": _restart_policy(deploy.section("restart_policy")),
        "Placement": _placement(deploy.section("placement")),
    }
    logging = section.section("logging")
    driver = logging.text("driver")
    options = logging.labels("options")
    logging.close()
    if driver or options:
        task["LogDriver"] = {"Name": driver, "Options": options}
    spec: Spec = {
        "Name": f"{names.stack}_{key}",
        "Labels": {**deploy.labels(), **labels},
        "TaskTemplate": task,
        "Mode": _mode(deploy),
        "UpdateConfig": _update_config(deploy.section("update_config"), ("pause", "continue", "rollback")),
        "RollbackConfig": _update_config(deploy.section("rollback_config"), ("pause", "continue")),
        "EndpointSpec": _endpoint(section, deploy),
    }
    deploy.close()
    section.close()
    return spec


def _mode(deploy: Section) -> Spec:
    mode = deploy.text("mode", "replicated", choices=("replicated", "global"))
    if mode == "replicated":
        return {"Replicated": {"Replicas": deploy.whole("replicas", 1)}}
    if "replicas" in deploy:
        raise ComposeError(deploy.at("replicas"), "has no meaning in mode global, which runs one task on every node")
    return {"Global": {}}


def _networks(key: str, section: Section, names: Names) -> list[Spec]:
    """Attachments, under network names; as everywhere in compose the service's own key is an alias."""
    if section.holds("networks", list):
        wanted = {name: Section({}, "") for name in section.strings("networks")}
    else:
        wanted = dict(section.sections("networks"))
    path = section.at("networks")
    if not wanted:
        names.default_network_used = True
        return [{"Target": names.default_network, "Aliases": [key]}]
    attachments = []
    for network, attachment in wanted.items():
        if network not in names.networks and network != "default":
            raise ComposeError(path, f"network {network!r} is not among the mapping's networks")
        aliases = sorted({key, *attachment.strings("aliases")})
        attachment.close()
        if network == "default":
            names.default_network_used = True
        attachments.append({"Target": names.networks.get(network, names.default_network), "Aliases": aliases})
    return attachments


def _resources(section: Section) -> Spec:
    limits, reservations = section.section("limits"), section.section("reservations")
    spec: Spec = {
        "Limits": {
            "NanoCPUs": limits.number("cpus", nano_cpus) or 0,
            "MemoryBytes": limits.number("memory", size) or 0,
            "Pids": limits.whole("pids", 0),
        },
        "Reservations": {
            "NanoCPUs": reservations.number("cpus", nano_cpus) or 0,
            "MemoryBytes": reservations.number("memory", size) or 0,
            "GenericResources": [
                _generic_resource(item, path) for item, path in reservations.items("generic_resources")
            ],
        },
    }
    for part in (limits, reservations, section):
        part.close()
    return spec


def _generic_resource(item: object, path: str) -> Spec:
    outer = Section(item, path)
    discrete = outer.section("discrete_resource_spec")
    spec = {"DiscreteResourceSpec": {"Kind": discrete.text("kind"), "Value": discrete.whole("value", 0)}}
    discrete.close()
    outer.close()
    if not spec["DiscreteResourceSpec"]["Kind"]:
        raise ComposeError(path, "expected discrete_resource_spec: {kind: …, value: …}")
    return spec


def _restart_policy(section: Section) -> Spec:
    spec = {
        "Condition": section.text("condition", "any", choices=("none", "on-failure", "any")),
        "Delay": _or_default(section.number("delay", duration), 5 * _SECOND),
        "MaxAttempts": section.whole("max_attempts", 0),
        "Window": section.number("window", duration) or 0,
    }
    section.close()
    return spec


def _placement(section: Section) -> Spec:
    spec: Spec = {
        "Constraints": section.strings("constraints"),
        "Preferences": [_preference(item, path) for item, path in section.items("preferences")],
        "MaxReplicas": section.whole("max_replicas_per_node", 0),
    }
    section.close()
    return spec


def _preference(item: object, path: str) -> Spec:
    section = Section(item, path)
    spread = section.text("spread")
    section.close()
    if not spread:
        raise ComposeError(path, "expected spread: <node label>")
    return {"Spread": {"SpreadDescriptor": spread}}


def _update_config(section: Section, actions: tuple[str, ...]) -> Spec:
    ratio = section.take("max_failure_ratio") or 0
    if isinstance(ratio, bool) or not re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", str(ratio)):
        raise ComposeError(section.at("max_failure_ratio"), f"expected a number from 0 to 1, got {ratio!r}")
    spec = {
        "Parallelism": section.whole("parallelism", 1),
        "Delay": section.number("delay", duration) or 0,
        "FailureAction": section.text("failure_action", "pause", choices=actions),
        "Monitor": section.number("monitor", duration) or 5 * _SECOND,
        "MaxFailureRatio": float(ratio),
        "Order": section.text("order", "stop-first", choices=("stop-first", "start-first")),
    }
    section.close()
    return spec


def _or_default(value: int | None, default: int) -> int:
    """Unlike ``or``, keeps a zero that was asked for."""
    return default if value is None else value


def _endpoint(section: Section, deploy: Section) -> Spec:
    mode = deploy.text("endpoint_mode", "vip", choices=("vip", "dnsrr"))
    ports = [port for item, path in section.items("ports") for port in _ports(item, path)]
    if mode == "dnsrr" and any(port["PublishMode"] == "ingress" for port in ports):
        raise ComposeError(
            section.at("ports"), "with endpoint_mode dnsrr a port cannot be published in mode ingress; use mode: host"
        )
    return {"Mode": mode, "Ports": ports}


def _ports(item: object, path: str) -> list[Spec]:
    if isinstance(item, dict):
        return [_long_port(Section(item, path))]
    match = _SHORT_PORT.fullmatch(str(item))
    if isinstance(item, bool) or not match:
        raise ComposeError(path, f"expected [published:]target[/protocol], got {item!r}")
    targets = _port_range(match["target"])
    published = _port_range(match["published"]) if match["published"] else [0] * len(targets)
    if len(targets) != len(published):
        raise ComposeError(path, f"the two ranges of {item!r} differ in length")
    return [
        _port(target, public, match["protocol"], "ingress") for target, public in zip(targets, published, strict=True)
    ]


def _long_port(section: Section) -> Spec:
    target, published = section.whole("target", 0), section.whole("published", 0)
    protocol = section.text("protocol", "tcp", choices=("tcp", "udp", "sctp"))
    mode = section.text("mode", "ingress", choices=("ingress", "host"))
    section.close()
    if not 0 < target < 65536 or published >= 65536:
        raise ComposeError(section.path, "target and published are port numbers up to 65535, and target is required")
    return _port(target, published, protocol, mode)


def _port_range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _port(target: int, published: int, protocol: str | None, mode: str) -> Spec:
    spec: Spec = {"Protocol": protocol or "tcp", "TargetPort": target, "PublishMode": mode}
    if published:
        spec["PublishedPort"] = published
    return spec
