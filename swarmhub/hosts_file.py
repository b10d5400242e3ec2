"""Edits the inventory's hosts.yml so that comments and order stay."""

from __future__ import annotations

import io
import re
import shutil
import typing as t
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from swarmhub.errors import Refused

#: What a host may be called: it stands in file names, labels and commands.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MEMBERS = ("managers", "cpu_workers", "gpu_workers")


def require_name(name: str) -> None:
    """Raise Refused for a name that a host cannot have."""
    if not NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is no name for a host: write letters, digits and - . _, beginning with a letter or digit"
        )


def _load(path: Path) -> t.Any:
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"there is no {path}: write one with `swarmhub init`") from error
    except YAMLError as error:
        raise Refused(f"{path} cannot be read: {error}") from error


def replace(path: Path, text: str) -> None:
    """Write the file anew: whoever reads it meanwhile sees the one or the other, and it stays as private as it was."""
    path = path.resolve()
    half = path.with_name(f".{path.name}.new")
    half.touch(mode=0o600)
    shutil.copymode(path, half)
    half.write_text(text, encoding="utf-8")
    half.replace(path)


def add_host(path: Path, name: str, address: str, group: str) -> bool:
    """Write a host into a group; say whether that was needed.

    Raises:
        Refused: the file cannot be read, the name is none or has another address, or the address another name.
    """
    require_name(name)
    content = _load(path)
    if not isinstance(content, CommentedMap) or not isinstance(content.get("all"), CommentedMap):
        raise Refused(
            f"{path} has not the form of inventory/example: write {name} into it, then run it without --address"
        )
    everything = content["all"]
    groups = everything.get("children") or CommentedMap()
    everywhere = list(_hosts({"all": everything, **groups}))
    for known, host, variables in everywhere:
        there = (variables or {}).get("ansible_host")
        if host == name and there and there != address:
            raise Refused(
                f"{name} is in {path} already, at {there} and not {address}: choose another name, or edit the file"
            )
        if host != name and there == address:
            raise Refused(f"{address} is {host} in {path} already: choose another address, or add {host}")
        if host == name and known != group and known in MEMBERS[1:] and group in MEMBERS[1:]:
            raise Refused(f"{name} is in {known} already, not in {group}: edit {path}")
    known_elsewhere = any(host == name and (variables or {}).get("ansible_host") for _, host, variables in everywhere)
    entry = groups.get(group) or CommentedMap()
    members = entry.get("hosts") or CommentedMap()
    if name in members:
        return False
    if members and not members.fa.flow_style():
        value = "" if known_elsewhere else f" {{ansible_host: {address}}}"
        replace(path, _with_line(path.read_text(encoding="utf-8"), members, f"{name}:{value}"))
        return True
    members[name] = None if known_elsewhere else CommentedMap(ansible_host=address)
    if not known_elsewhere:
        members[name].fa.set_flow_style()
    entry["hosts"] = members
    groups[group] = entry
    everything["children"] = groups
    text = io.StringIO()
    _yaml().dump(content, text)
    replace(path, text.getvalue())
    return True


def _with_line(text: str, members: CommentedMap, line: str) -> str:
    """Return the file with a line after the last member: all else stays as it is, to the last blank.

    ruamel would write it behind the comment that stands before the next group.
    """
    row, column = members.lc.key(list(members)[-1])
    lines = text.splitlines()
    end = row + 1
    # A host's own lines, comments that stand as deep, and blank lines between them.
    for number in range(end, len(lines)):
        depth = len(lines[number]) - len(lines[number].lstrip())
        if lines[number].strip() and depth <= column:
            break
        end = number + 1 if lines[number].strip() else end
    return "\n".join([*lines[:end], " " * column + line, *lines[end:]]) + "\n"


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
