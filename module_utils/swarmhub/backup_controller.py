"""The controller's share of a backup: what it hands over, what it puts back, and what it says of both."""

from __future__ import annotations

import base64
import datetime
import json
import os
import typing as t
from collections.abc import Iterable, Mapping
from pathlib import Path

Facts = Mapping[str, t.Any]

#: Where a restore lays the inventory as it was, beside the one in use. Ansible reads no hidden directory as hosts.
RESTORED = ".restored"
MB = 2**20
#: Bytes of one file of the inventory: all of them are one JSON text, which a run holds several times.
LARGEST = 10 * MB
NODE_KEYS = ("role", "availability", "labels")


def collect(directory: str, secrets: Mapping[str, str], nodes: Iterable[Facts]) -> str:
    """Return cluster.json: the inventory's files, its secrets, and the nodes as the swarm has them.

    Args:
        directory: the inventory's.
        secrets: by name, decrypted. The key of the backups is left out: it opens them.
        nodes: as the Engine API's ``GET /nodes``.

    Raises:
        ValueError: a file is larger than LARGEST.
    """
    inventory: dict[str, str] = {}
    binaries: dict[str, str] = {}
    for path in sorted(Path(directory).rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and name.parts[0] != "secrets" and not any(part.startswith(".") for part in name.parts):
            if path.stat().st_size > LARGEST:
                raise ValueError(
                    f"{path} has more than {LARGEST // MB} MB: keep it outside of the inventory's directory"
                )
            content = path.read_bytes()
            try:
                inventory[str(name)] = content.decode()
            except UnicodeDecodeError:
                binaries[str(name)] = base64.b64encode(content).decode()
    return json.dumps(
        {
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "secrets": {name: value for name, value in secrets.items() if name != "backup_key"},
            "inventory": inventory,
            "binaries": binaries,
            "nodes": named_nodes(nodes),
        }
    )


def named_nodes(nodes: Iterable[Facts]) -> dict[str, dict[str, t.Any]]:
    """Return ``{host name: {role, availability, labels}}`` of the swarm's nodes."""
    return {
        node["Description"]["Hostname"]: {
            "role": node["Spec"]["Role"],
            "availability": node["Spec"]["Availability"],
            "labels": node["Spec"].get("Labels") or {},
        }
        for node in nodes
    }


def put_back(directory: str, cluster: Facts) -> dict[str, list[dict[str, str]]]:
    """Return what a restore writes on this controller, as module owned_files takes it.

    Secrets that are there stay; of the inventory, what is as it was is left out.
    """

    def here(name: str) -> bytes | None:
        path = Path(directory, name)
        return path.read_bytes() if path.exists() else None

    texts = {f"secrets/{name}": value for name, value in cluster["secrets"].items() if here(f"secrets/{name}") is None}
    texts |= {f"{RESTORED}/{name}": text for name, text in cluster["inventory"].items() if here(name) != text.encode()}
    binaries = {  # those of an older backup are none
        f"{RESTORED}/{name}": content
        for name, content in cluster.get("binaries", {}).items()
        if here(name) != base64.b64decode(content)
    }
    ours = {"owner": str(os.getuid()), "group": str(os.getgid())}
    files = [
        {"path": f"{directory}/{name}", "mode": "0600", "secret_content": content, "encoding": encoding, **ours}
        for encoding, wanted in (("utf-8", texts), ("base64", binaries))
        for name, content in wanted.items()
    ]
    folders = sorted({str(Path(file["path"]).parent) for file in files})
    return {"directories": [{"path": folder, "mode": "0700", **ours} for folder in folders], "files": files}


def other_secrets(directory: str, present: Mapping[str, str], cluster: Facts) -> str:
    """Return why the backup's secrets cannot be put back, as a sentence; empty when nothing speaks against it.

    Args:
        directory: the inventory's.
        present: the secrets there, by name, decrypted.
        cluster: the controller's part of the backup.
    """
    saved = cluster["secrets"]
    other = sorted(name for name in saved.keys() & present.keys() if saved[name].strip() != present[name].strip())
    if not other:
        return ""
    return (
        f"{', '.join(other)} in {directory}/secrets are others than in the backup: a cluster was made since. "
        "Nothing was changed. To go back, take that cluster away (playbooks/reset.yml), move all files of "
        "secrets/ but backup_key aside, and run this again"
    )


def made(last: Facts) -> list[str]:
    """Return what a run of the backup says for itself (backup.py's last.json)."""
    manifest, summary = last["manifest"], last["summary"]
    return [
        f"snapshot {last['snapshot'][:8]}: {size(summary['total_bytes_processed'])} in "
        f"{summary['total_files_processed']} files, {size(summary['data_added_packed'])} added to the repository, "
        f"{last['seconds']} s",
        *contents(manifest),
    ]


def contents(manifest: Facts) -> list[str]:
    """Return what a backup has, as lines to read."""
    rows, parts = manifest["rows"], manifest["parts"]
    lines = [
        f"database: {size(parts['database.sql']['bytes'])}, {rows.get('users', 0)} users, "
        f"{rows.get('api_tokens', 0)} tokens",
        *(f"{name}: {each['entries']} in {each['path']}" for name, each in manifest["folders"].items()),
    ]
    if "cluster.json" not in parts:
        return [*lines, "no secrets and no inventory: playbooks/backup.yml has not been run yet"]
    return [*lines, f"secrets, inventory and nodes: {size(parts['cluster.json']['bytes'])}"]


def report(found: Facts, nodes: Facts) -> list[str]:
    """Return what a restore puts back, as lines to read, and which nodes are otherwise than they were.

    Args:
        found: what module backup_look returned.
        nodes: those of the swarm at hand, as named_nodes has them; empty for none.
    """
    manifest = found["manifest"]
    lines = [
        f"backup {found['snapshot'][:8]} of {manifest['time']}, made by {manifest['host']} with PostgreSQL "
        f"{manifest['postgres']}, {size(found['bytes'])}; repository and checksums are right",
        *contents(manifest),
    ]
    for name, was in found["cluster"]["nodes"].items():
        now = nodes.get(name)
        differing = [key for key in NODE_KEYS if now and now[key] != was[key]]
        lines += [f"node {name}: {key} was {was[key]}, is {now[key]}" for key in differing if now]
    return lines


def size(number: float) -> str:
    """Return bytes as text to read."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    power = min(max(int(number).bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{number / 1024**power:.{1 if power else 0}f} {units[power]}"
