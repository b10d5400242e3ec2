"""From a compose mapping (the words of version 3.8, as ``docker stack deploy`` takes them) to what a stack should be.

Nothing is dropped in silence: a key is translated, accepted with a warning that says why it has no effect, or refused.
"""

from __future__ import annotations

import dataclasses
import graphlib
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ansible.module_utils.swarmhub.compose_container import Names
from ansible.module_utils.swarmhub.compose_reader import ComposeError, Section
from ansible.module_utils.swarmhub.compose_service import service_spec
from ansible.module_utils.swarmhub.network import STACK_LABEL, NetworkSpec
from ansible.module_utils.swarmhub.stack_content import KINDS, Content, config_hash, secret_hash

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_HASH_LENGTH = 13  # with its hyphen
_LONGEST_NAME = 64  # of a secret or config in the swarm


@dataclasses.dataclass
class Stack:
    """What a compose mapping asks for; networks map to ``None`` where they are external."""

    name: str
    networks: dict[str, NetworkSpec | None]
    contents: list[Content]
    services: dict[str, dict[str, t.Any]]
    warnings: list[str]


def read_stack(name: str, compose: object, secrets: dict[str, str], configs: dict[str, str], cluster_id: str) -> Stack:
    """Translate a whole compose mapping.

    Args:
        name: of the stack; it prefixes the names of all that belongs to it.
        compose: the mapping.
        secrets: values of the mapping's own secrets, by key.
        configs: contents of the mapping's own configs, by key.
        cluster_id: salts the hashes of secrets.

    Raises:
        ComposeError: for the first key that is wrong or not supported.
        NetworkError: a network with an address that is none.
    """
    if not _NAME.fullmatch(name):
        raise ComposeError("name", f"a stack's name has letters, digits, '_', '.' and '-', got {name!r}")
    top = Section(compose, "")
    warnings: list[str] = []
    if top.take("version") is not None:
        warnings.append("version: has no effect")
    labels = {STACK_LABEL: name}
    networks = {key: _network(name, key, section, labels) for key, section in top.sections("networks")}
    values = {"secrets": secrets, "configs": configs}

    def read(kind: str, named: tuple[str, Section]) -> tuple[str, Content]:
        key, section = named
        return key, _content(kind, key, section, values[kind], (name, cluster_id))

    # The hashes of secrets are slow by design, and hashlib lets others work meanwhile.
    with ThreadPoolExecutor() as pool:
        contents = {kind: dict(pool.map(partial(read, kind), top.sections(kind))) for kind in KINDS}
    for kind in KINDS:
        own = {key for key, item in contents[kind].items() if item.value is not None}
        for key in sorted(values[kind].keys() - own):
            raise ComposeError(
                f"{kind}.{key}", f"has a value in the option {kind}, but the mapping has none of its own"
            )
    names = Names(
        stack=name,
        networks={key: real for key, (real, _) in networks.items()},
        volumes=dict(_volume(name, key, section, labels) for key, section in top.sections("volumes")),
        secrets={key: item.name for key, item in contents["secrets"].items()},
        configs={key: item.name for key, item in contents["configs"].items()},
        warnings=warnings,
    )
    sections = dict(top.sections("services"))
    top.close()
    if not sections:
        raise ComposeError("services", "the stack has none")
    _check_dependencies(sections, warnings)
    services = {f"{name}_{key}": service_spec(key, section, names) for key, section in sections.items()}
    wanted = dict(networks.values())
    if names.default_network_used:
        wanted.setdefault(names.default_network, NetworkSpec(names.default_network, labels=labels))
    return Stack(name, wanted, [item for kind in KINDS for item in contents[kind].values()], services, warnings)


def _check_dependencies(sections: dict[str, Section], warnings: list[str]) -> None:
    """Swarm starts services in no order, but an order that there cannot be is a mistake all the same."""
    graph: dict[str, list[str]] = {}
    for key, section in sections.items():
        path = section.at("depends_on")
        if "depends_on" in section:
            warnings.append(f"{path}: has no effect, swarm starts services in no order")
        mapping = section.holds("depends_on", dict)
        graph[key] = section.section("depends_on").names() if mapping else section.strings("depends_on")
        for name in graph[key]:
            if name not in sections:
                raise ComposeError(path, f"{name!r} is not among the mapping's services")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise ComposeError("services", f"depends_on goes in a circle: {' -> '.join(error.args[1])}") from error


def _external_name(section: Section, key: str) -> str | None:
    """The name of an external object, ``None`` for one of the stack's own."""
    external = section.take("external")
    if external is None or external is False:
        return None
    if external is True:
        name = section.text("name", key)
    else:
        inner = Section(external, section.at("external"))
        name = inner.text("name", key)
        inner.close()
    section.close()
    return name


def _network(stack: str, key: str, section: Section, labels: dict[str, str]) -> tuple[str, NetworkSpec | None]:
    external = _external_name(section, key)
    if external is not None:
        return external, None
    name = section.text("name", f"{stack}_{key}")
    subnets, gateway = [], ""
    ipam = section.section("ipam")
    ipam.text("driver", "default", choices=("default",))
    for block, path in ipam.items("config"):
        pool = Section(block, path)
        subnets.append(pool.text("subnet"))
        gateway = pool.text("gateway", gateway)
        pool.close()
    ipam.close()
    spec = NetworkSpec(
        name=name,
        driver=section.text("driver", "overlay"),
        attachable=bool(section.flag("attachable")),
        internal=bool(section.flag("internal")),
        driver_opts=section.labels("driver_opts"),
        subnets=tuple(subnets),
        gateway=gateway,
        labels={**section.labels(), **labels},
        cure=section.extension("x-cure"),
    )
    section.close()
    return name, spec


def _volume(stack: str, key: str, section: Section, labels: dict[str, str]) -> tuple[str, tuple[str, dict[str, t.Any]]]:
    """``(key, (real name, VolumeOptions))``: the volume itself is made by each node on first use."""
    external = _external_name(section, key)
    if external is not None:
        return key, (external, {})
    name = section.text("name", f"{stack}_{key}")
    driver, options = section.text("driver"), section.labels("driver_opts")
    volume: dict[str, t.Any] = {"Labels": {**section.labels(), **labels}}
    if driver or options:
        volume["DriverConfig"] = {**({"Name": driver} if driver else {}), "Options": options}
    section.close()
    return key, (name, volume)


def _content(kind: str, key: str, section: Section, values: dict[str, str], owner: tuple[str, str]) -> Content:
    """One secret or config of ``owner``, a stack and the id of its cluster."""
    stack, cluster_id = owner
    external = _external_name(section, key)
    if external is not None:
        return Content(kind, key, external)
    if "file" in section:
        raise ComposeError(section.at("file"), f"is not supported; give the value in the option {kind}")
    base = section.text("name", f"{stack}_{key}")
    labels = {**section.labels(), STACK_LABEL: stack}
    section.close()
    if len(base) + _HASH_LENGTH > _LONGEST_NAME:
        raise ComposeError(section.path, f"the name {base!r} is too long, at most {_LONGEST_NAME - _HASH_LENGTH} fit")
    value = values.get(key)
    if not isinstance(value, str) or not value:  # which may be a secret: it is not shown
        raise ComposeError(section.path, f"has no value; give one, as a string, in the option {kind}")
    digest = secret_hash(value, f"{cluster_id}/{base}") if kind == "secrets" else config_hash(value)
    return Content(kind, key, f"{base}-{digest}", value, labels)
