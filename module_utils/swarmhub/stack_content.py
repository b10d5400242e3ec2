"""Secrets and configs of a stack: named after their content, made once, removed when no service uses them.

Swarm secrets and configs cannot be changed, so a new value gets a new name, and the services move to it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import typing as t

from ansible.module_utils.swarmhub.engine import Engine
from ansible.module_utils.swarmhub.network import STACK_LABEL

KINDS = ("secrets", "configs")
_SPEC_KEYS = {"secrets": ("Secrets", "SecretName"), "configs": ("Configs", "ConfigName")}


@dataclasses.dataclass(frozen=True)
class Content:
    """One secret or config: its key in the compose mapping and its real name in the swarm.

    ``value`` is ``None`` for an external one, which must exist already.
    """

    kind: str
    key: str
    name: str
    value: str | None = dataclasses.field(default=None, repr=False)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def secret_hash(value: str, salt: str) -> str:
    """Twelve hex digits that change with the value and are of no use for guessing it.

    Secret names are shown to everybody who may list services, and values may be passwords that people chose:
    hence scrypt (about 50 ms and 16 MiB a guess), salted with the cluster's id.
    """
    return hashlib.scrypt(value.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=6).hex()


def config_hash(value: str) -> str:
    """Twelve hex digits of the content of a config, which is no secret."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


class Inventory:
    """The secrets and configs that the swarm holds now."""

    def __init__(self, engine: Engine) -> None:
        self._objects: dict[str, dict[str, dict[str, t.Any]]] = {
            kind: {item["Spec"]["Name"]: item for item in engine.request("GET", f"/{kind}") or []} for kind in KINDS
        }

    def identity(self, kind: str, name: str) -> str | None:
        """The id of an object, ``None`` when there is none of that name."""
        item = self._objects[kind].get(name)
        return item["ID"] if item else None

    def of_stack(self, stack: str) -> list[Content]:
        """All secrets and configs that belong to the stack, old versions included."""
        return [
            Content(kind, name, name)
            for kind in KINDS
            for name, item in sorted(self._objects[kind].items())
            if (item["Spec"].get("Labels") or {}).get(STACK_LABEL) == stack
        ]

    def create(self, engine: Engine, content: Content) -> None:
        """Create one and remember its id."""
        body = {
            "Name": content.name,
            "Labels": content.labels,
            "Data": base64.b64encode((content.value or "").encode()).decode(),
        }
        answer = engine.request("POST", f"/{content.kind}/create", body=body)
        self._objects[content.kind][content.name] = {"ID": answer["ID"], "Spec": {"Name": content.name, "Labels": {}}}


def used_by(specs: t.Iterable[dict[str, t.Any]]) -> set[tuple[str, str]]:
    """The (kind, name) of every secret and config that the service specs name."""
    return {
        (kind, reference[name_key])
        for spec in specs
        for kind, (list_key, name_key) in _SPEC_KEYS.items()
        for reference in (spec["TaskTemplate"].get("ContainerSpec") or {}).get(list_key) or []
    }


def fill_ids(spec: dict[str, t.Any], inventory: Inventory) -> dict[str, t.Any]:
    """A copy of the service spec in which every secret and config has its id, as the engine demands."""
    filled: dict[str, t.Any] = json.loads(json.dumps(spec))
    container = filled["TaskTemplate"]["ContainerSpec"]
    for kind, (list_key, name_key) in _SPEC_KEYS.items():
        for reference in container.get(list_key) or []:
            reference[name_key.replace("Name", "ID")] = inventory.identity(kind, reference[name_key])
    return filled
