"""All roles' argument specs, validated for all hosts in one local call: a role that is skipped validates nothing.

Only values that are there are judged. What a play hands to a role is not in the inventory, and Ansible itself judges it
when the role runs.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

Options = dict[str, dict[str, t.Any]]
CONTAINERS: dict[str, tuple[type, ...]] = {"list": (list, tuple), "dict": (Mapping,)}
# Types as a reader of YAML knows them; Python takes true for a number, so that comes first.
WORDS = {"list": "a list", "dict": "a mapping", "int": "a number", "bool": "true or false"}
KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, WORDS["bool"]),
    ((int, float), WORDS["int"]),
    (str, "text"),
    (Mapping, WORDS["dict"]),
    ((list, tuple), WORDS["list"]),
)


def read_options(role: Path, entry_point: str = "main") -> Options:
    """Return the options of a role's entry point; empty when it has no specs (role directory as path)."""
    path = role / "meta" / "argument_specs.yml"
    if not path.exists():
        return {}
    entry_points = yaml_load(path.read_text())["argument_specs"]
    return t.cast(Options, entry_points.get(entry_point, {}).get("options", {}))


def read_defaults(role: Path) -> dict[str, t.Any]:
    """Return a role's defaults that are plain values, without a template anywhere in them."""
    path = role / "defaults" / "main.yml"
    defaults = yaml_load(path.read_text()) if path.exists() else {}
    return {name: value for name, value in (defaults or {}).items() if not is_templated(value)}


def is_templated(value: t.Any) -> bool:
    """Tell whether there is a Jinja template anywhere in ``value``."""
    if isinstance(value, Mapping):
        return any(is_templated(each) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple)):
        return any(is_templated(each) for each in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def plain(value: t.Any) -> t.Any:
    """Return ``value`` in ordinary containers: a deep copy of Ansible's own drags its templar along."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def errors_of(name: str, spec: Mapping[str, t.Any], value: t.Any) -> list[str]:
    """Return what is wrong with one value; secrets (``no_log``) are masked.

    A list or mapping must be one: Ansible would make a list of any text, and the plays would still see the text.
    """
    wanted = spec.get("type", "str")
    container = CONTAINERS.get(wanted)
    result = ArgumentSpecValidator({name: spec}).validate({name: plain(value)})
    mistyped = bool(result.error_messages) and wanted in ("int", "bool")
    # The validator takes true for 1.
    if mistyped or (container and not isinstance(value, container)) or (wanted == "int" and isinstance(value, bool)):
        found = next((words for kind, words in KINDS if isinstance(value, kind)), type(value).__name__)
        return [f"is {'not whole' if found == WORDS[wanted] else found} and must be {WORDS[wanted]}"]
    return [str(remove_values(message, result._no_log_values)) for message in result.error_messages]


def validate_specs(
    roles_dir: str | Path, hostvars: Mapping[str, Mapping[str, t.Any]], roles: Iterable[str] | None = None
) -> list[Finding]:
    """Return what the specs of ``roles`` (all, unless given) refuse of defaults and of hosts' variables."""
    names = sorted(path.name for path in Path(roles_dir).iterdir()) if roles is None else roles
    return [
        finding
        for role in names
        for finding in validate_options(
            f"role {role}", read_options(Path(roles_dir) / role), hostvars, read_defaults(Path(roles_dir) / role)
        )
    ]


def validate_options(
    owner: str,
    options: Options,
    hostvars: Mapping[str, Mapping[str, t.Any]],
    defaults: Mapping[str, t.Any] | None = None,
) -> Iterator[Finding]:
    """Yield one finding for each option and message, naming all hosts it holds for."""
    for name, spec in options.items():
        hosts_by_message: dict[str, list[str]] = {}
        for host, variables in hostvars.items():
            value = variables[name] if name in variables else (defaults or {}).get(name)
            if value is None or is_templated(value):
                continue
            for message in errors_of(name, spec, value):
                hosts_by_message.setdefault(message, []).append(host)
        for message, hosts in hosts_by_message.items():
            everywhere = len(hosts) == len(hostvars)
            file = VARIABLES_FILE if everywhere else f"host_vars/{hosts[0]}.yml or the host's groups"
            where = "" if everywhere else ", ".join(hosts)
            yield Finding(message, f"correct it ({owner}: {spec.get('description', name)})", name, where, file)
