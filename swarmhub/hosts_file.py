"""Edits the inventory's hosts.yml so that comments and order stay."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from swarmhub.errors import Refused

MEMBERS = ("managers", "cpu_workers", "gpu_workers")


def load(path: Path) -> t.Any:
    """Return a YAML file's content, with its comments.

    Raises:
        Refused: it cannot be read, or is not YAML.
    """
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"there is no {path}: write one with `swarmhub init`") from error
    except YAMLError as error:
        raise Refused(f"{path} cannot be read: {error}") from error


def save(path: Path, content: t.Any) -> None:
    """Write it back, at once."""
    half = path.with_name(f".{path.name}.new")
    with half.open("w", encoding="utf-8") as file:
        _yaml().dump(content, file)
    half.replace(path)


def add_host(path: Path, name: str, address: str, group: str) -> bool:
    """Write a host into a group; say whether that was needed.

    Raises:
        Refused: the name has another address, or the address another name.
    """
    content = load(path)
    groups = content["all"].setdefault("children", CommentedMap())
    for known, host, variables in _hosts(groups):
        there = (variables or {}).get("ansible_host")
        if host == name and there and there != address:
            raise Refused(
                f"{name} is in {path} already, at {there} and not {address}: choose another name, or edit the file"
            )
        if host != name and there == address:
            raise Refused(f"{address} is {host} in {path} already: choose another address, or add {host}")
        if host == name and known != group and known in MEMBERS[1:] and group in MEMBERS[1:]:
            raise Refused(f"{name} is in {known} already, not in {group}: edit {path}")
    entry = groups.setdefault(group, CommentedMap())
    if entry is None:
        entry = groups[group] = CommentedMap()
    if entry.get("hosts") is None:
        entry["hosts"] = CommentedMap()
    if (entry["hosts"].get(name) or {}).get("ansible_host"):
        return False
    if any(host == name and (variables or {}).get("ansible_host") for _, host, variables in _hosts(groups)):
        if name in entry["hosts"]:
            return False
        entry["hosts"][name] = None  # its address stands in another group
    else:
        entry["hosts"][name] = one_line(ansible_host=address)
    save(path, content)
    return True


def one_line(**values: t.Any) -> CommentedMap:
    """Return a mapping that is written as ``{key: value}``."""
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping


def _hosts(groups: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, str, t.Any]]:
    """Every host by group, name and variables."""
    for group, content in groups.items():
        for name, variables in ((content or {}).get("hosts") or {}).items():
            yield group, name, variables


def _yaml() -> YAML:
    yaml = YAML()  # the round-trip loader
    yaml.preserve_quotes = True
    yaml.width = 140
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.explicit_start = True
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "")
    )
    return yaml
