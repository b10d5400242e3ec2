"""The container toolkit's config.toml: what it holds at first, and how the real nvidia-ctk writes it.

NVIDIA/nvidia-container-toolkit has this in internal/config, lately in api/config/v1: GetDefault (config.go),
commentDefaults and shouldComment (toml.go).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Table = dict[str, Any]
VERSION_FILE = Path(__file__).with_name("toolkit-version")
DEFAULTS: Table = {
    "disable-require": False,
    "supported-driver-capabilities": "compat32,compute,display,graphics,ngx,utility,video",
    "nvidia-container-cli": {"environment": [], "ldconfig": "@/sbin/ldconfig", "load-kmods": True},
    "nvidia-container-runtime": {
        "log-level": "info",
        "mode": "auto",
        "runtimes": ["runc", "crun"],
        "modes": {
            "cdi": {
                "annotation-prefixes": ["cdi.k8s.io/"],
                "default-kind": "nvidia.com/gpu",
                "spec-dirs": ["/etc/cdi", "/var/run/cdi"],
            },
            "csv": {"mount-spec-path": "/etc/nvidia-container-runtime/host-files-for-container.d"},
            "legacy": {"cuda-compat-mode": "ldconfig"},
        },
    },
    "nvidia-container-runtime-hook": {"path": "nvidia-container-runtime-hook", "skip-mode-detection": False},
    "nvidia-ctk": {"path": "nvidia-ctk"},
}
# These are written as comments where they are not set.
COMMENTED: dict[str, str | bool] = {
    "swarm-resource": "DOCKER_RESOURCE_GPU",
    "accept-nvidia-visible-devices-envvar-when-unprivileged": True,
    "accept-nvidia-visible-devices-as-volume-mounts": False,
    "nvidia-container-cli.root": "/run/nvidia/driver",
    "nvidia-container-cli.path": "/usr/bin/nvidia-container-cli",
    "nvidia-container-cli.debug": "/var/log/nvidia-container-toolkit.log",
    "nvidia-container-cli.ldcache": "/etc/ld.so.cache",
    "nvidia-container-cli.no-cgroups": False,
    "nvidia-container-cli.user": "root:video",
    "nvidia-container-runtime.debug": "/var/log/nvidia-container-runtime.log",
}


def path() -> Path:
    """Where the configuration lies (GetConfigFilePath in config.go)."""
    return Path(os.environ.get("NVIDIA_CTK_CONFIG_FILE_PATH") or "/etc/nvidia-container-runtime/config.toml")


def version() -> tuple[int, ...]:
    """The version of the toolkit that is stood in for."""
    return tuple(map(int, VERSION_FILE.read_text().split(".")))


def read(file: Path) -> Table:
    """The settings of a file, and the defaults where there is none."""
    return tomllib.loads(file.read_text()) if file.exists() else DEFAULTS


def get(settings: Table, key: str) -> Any:
    """A setting by its dotted name; None where it is not set."""
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def put(settings: Table, key: str, value: Any) -> Table:
    """The settings with one of them changed."""
    first, _, rest = key.partition(".")
    return {**settings, first: put(settings.get(first, {}), rest, value) if rest else value}


def keys(settings: Table, prefix: str = "") -> Iterator[str]:
    """The dotted names of all that is set."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def render(settings: Table, meant: set[str]) -> str:
    """The text of a file. What equals its default becomes a comment and thereby void, unless its key is `meant`."""
    comments: Table = {}
    for key, default in COMMENTED.items():
        if key not in meant and get(settings, key) in (None, default, ""):
            comments = put(comments, key, default)
    return "\n\n".join(block for block in _blocks("", settings, comments) if block) + "\n"


def _blocks(name: str, settings: Table, comments: Table) -> Iterator[str]:
    """The tables of a file in the order of their names, each with its settings in theirs."""
    lines = [f"[{name}]"] if name else []
    tables = []
    for key in sorted(settings.keys() | comments.keys()):
        if isinstance(settings.get(key, comments.get(key)), dict):
            tables.append(key)
        elif key in comments:
            lines.append(f"#{key} = {json.dumps(comments[key])}")
        else:
            lines.append(f"{key} = {json.dumps(settings[key])}")
    yield "\n".join(lines)
    for key in tables:
        yield from _blocks(f"{name}.{key}".lstrip("."), settings.get(key, {}), comments.get(key, {}))
