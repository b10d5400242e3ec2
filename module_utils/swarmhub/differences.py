"""What a role wants on a host, set against what a look (host_state) found there.

A role declares what it owns as plain data, all keys optional::

    packages: [docker.io, x=1.2-1]         installed, whatever the version; or exactly this one, older or newer
    package_patterns: [linux-headers-*]    packages whose name is known only after the look
    held: [docker.io]                      not upgraded behind our back (apt-mark hold)
    directories: [{path, mode, owner, group}]
    files: [{path, content, mode, owner, group}]   or {path, absent: true}; ``because`` tells why a content is new
    units: [{name, enabled, active, after: [paths], of: [packages]}]
                                           restarted when one of these files or packages is younger than the process;
                                           with ``reloads: true`` a reload is as good as a restart
    sysctls: {name: value}
    look_also: [patterns]                  files whose path is known only after the look
    look_also_units: [names]               units that may be the one, which is known only after the look
    facts: {sentence: bool}                anything else: the sentence is what is wrong while the value is false
    reboot: [sentences]                    what is wrong and only a reboot settles
    when_idle: [names]                     which packages, files and units disturb running notebooks (waits.py)
"""

from __future__ import annotations

import hashlib
import typing as t
from collections.abc import Iterable, Mapping

Owned = Mapping[str, t.Any]
State = Mapping[str, t.Any]

# What else a role notes down with a directory or file is for itself.
ENTRY = ("path", "mode", "owner", "group", "content", "absent")
KINDS = ("packages", "held", "directories", "files", "units", "restart", "sysctls", "facts", "reboot")


def package_name(wanted: str) -> str:
    """Return the name in ``name`` or ``name=version``, the form that apt takes (apt-get(8))."""
    return wanted.partition("=")[0]


def names(owned_by_role: Mapping[str, Owned]) -> dict[str, list[str]]:
    """Return what host_state must be asked about: names only, never a content."""
    wanted: dict[str, set[str]] = {key: set() for key in ("packages", "files", "units", "sysctls")}
    for owned in owned_by_role.values():
        wanted["packages"].update(map(package_name, owned.get("packages", [])), owned.get("held", []))
        wanted["packages"].update(owned.get("package_patterns", []))
        wanted["files"].update(entry["path"] for kind in ("files", "directories") for entry in owned.get(kind, []))
        wanted["files"].update(owned.get("look_also", []))
        for unit in owned.get("units", []):
            wanted["units"].add(unit["name"])
            wanted["files"].update(unit.get("after", []))
            wanted["packages"].update(unit.get("of", []))
        wanted["units"].update(owned.get("look_also_units", []))
        wanted["sysctls"].update(owned.get("sysctls", {}))
    return {key: sorted(value) for key, value in wanted.items()}


def newest(packages: Iterable[str], candidates: Mapping[str, str]) -> list[str]:
    """Return a role's ``packages``, those that have a candidate (host_state) with its version."""
    return [f"{name}={candidates[name]}" if name in candidates else name for name in packages]


def _package_reason(wanted: str, installed: State) -> str:
    name, _, version = wanted.partition("=")
    if name not in installed:
        return "not installed"
    return f"instead of {installed[name]['version']}" if version not in ("", installed[name]["version"]) else ""


def _file_reasons(entry: Owned, found: State | None) -> list[str]:
    if entry.get("absent"):
        return ["present"] if found else []
    if not found:
        return ["missing"]
    owner, group = str(entry.get("owner", "root")), str(entry.get("group", "root"))
    # A number is that of the account, whatever its name is on this host.
    reasons = [
        f"{key} {actual}, not {wanted}"
        for key, wanted, actual in (
            ("owner", owner, str(found["uid"]) if owner.isdigit() else found["owner"]),
            ("group", group, str(found["gid"]) if group.isdigit() else found["group"]),
            ("mode", str(entry["mode"]), found["mode"]),
        )
        if actual != wanted
    ]
    if "content" in entry and found["sha256"] != hashlib.sha256(str(entry["content"]).encode()).hexdigest():
        reasons.append("content differs" + (f" ({entry['because']})" if entry.get("because") else ""))
    return reasons


def _unit_reasons(unit: Owned, found: State) -> list[str]:
    wanted = {key: bool(unit.get(key, True)) for key in ("enabled", "active")}
    return [f"{'not ' if want else ''}{key}" for key, want in wanted.items() if bool(found.get(key)) != want]


def _stale(unit: Owned, state: State) -> list[str]:
    found = state["units"].get(unit["name"], {})
    if not found.get("active"):
        return []
    files, installed = state["files"], state["packages"]
    changed = {path: files[path]["mtime"] for path in unit.get("after", []) if files.get(path)}
    changed |= {name: installed[name]["since"] for name in unit.get("of", []) if name in installed}
    # What is of tomorrow was written before the clock was set, and tells nothing.
    since = found["settled" if unit.get("reloads") else "since"]
    return [name for name, moment in changed.items() if since < moment <= state["time"]]


def of_role(owned: Owned, state: State) -> dict[str, dict[str, str]]:
    """Return ``{kind: {name: reason}}`` of all that differs, every kind present."""
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    installed = state["packages"]
    found["packages"] = {name: why for name in owned.get("packages", []) if (why := _package_reason(name, installed))}
    # What is yet to be installed is held by whoever installs it.
    found["held"] = {
        name: "not held" for name in owned.get("held", []) if name in installed and not installed[name]["held"]
    }
    for kind in ("directories", "files"):
        for entry in owned.get(kind, []):
            if reasons := _file_reasons(entry, state["files"].get(entry["path"])):
                found[kind][entry["path"]] = ", ".join(reasons)
    for unit in owned.get("units", []):
        if reasons := _unit_reasons(unit, state["units"].get(unit["name"], {})):
            found["units"][unit["name"]] = ", ".join(reasons)
        if stale := _stale(unit, state):
            found["restart"][unit["name"]] = "runs with an older " + ", ".join(stale)
    for name, value in owned.get("sysctls", {}).items():
        if state["sysctls"].get(name) != str(value):
            found["sysctls"][name] = f"{state['sysctls'].get(name)}, not {value}"
    found["facts"] = {sentence: "" for sentence, holds in owned.get("facts", {}).items() if not holds}
    found["reboot"] = dict.fromkeys(owned.get("reboot", []), "")
    return found


def differences(owned_by_role: Mapping[str, Owned], state: State) -> dict[str, dict[str, dict[str, str]]]:
    """Return ``{role: {kind: {name: reason}}}``; a role in which nothing differs is left out."""
    by_role = {role: of_role(owned, state) for role, owned in owned_by_role.items()}
    return {role: kinds for role, kinds in by_role.items() if any(kinds.values())}


def entries(owned: Owned, kind: str, differing: t.Collection[str]) -> list[dict[str, t.Any]]:
    """Return those of a role's ``directories`` or ``files`` that differ, as module owned_files takes them."""
    return [
        {
            "secret_content" if key == "content" and entry.get("secret") else key: value
            for key, value in entry.items()
            if key in ENTRY
        }
        for entry in owned.get(kind, [])
        if entry["path"] in differing
    ]


def sentences(by_role: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[str]:
    """Return the differences as lines to read, one each."""
    return [
        f"{role}: {name} {reason}".rstrip()
        for role, kinds in by_role.items()
        for found in kinds.values()
        for name, reason in found.items()
    ]
