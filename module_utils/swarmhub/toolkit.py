"""Which versions of NVIDIA's container toolkit serve a swarm."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator, Mapping

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding
from ansible.module_utils.swarmhub.versions import version

if t.TYPE_CHECKING:  # whose rules include ours
    from ansible.module_utils.swarmhub.inventory import Inventory

VARIABLE = "gpu_toolkit_version"
PACKAGE = "nvidia-container-toolkit"
WHAT = "{} does not follow swarm's assignment of cards"
CURE = "use 1.19.0-1 or later, or 1.17.8-1"
# As NVIDIA's packages have it. 1.20 without quotes would be the number 1.2.
VERSION = re.compile(r"\d+\.\d+\.\d+(~rc\.\d+)?-\d+")


def is_deaf(text: str) -> bool:
    """Tell whether this version ignores ``swarm-resource`` in its default mode (nvidia-container-toolkit#1599)."""
    return (1, 18, 0) <= version(text) <= (1, 18, 2)


def wanted(inventory: Inventory, host: str) -> str:
    """Return the version that the inventory wants on a host; empty for whatever is there."""
    return str(inventory.hosts[host].get(VARIABLE, inventory.settings[VARIABLE]) or "")


def check_wanted(inventory: Inventory) -> Iterator[Finding]:
    """Refuse a version that apt would not find, or that would give notebooks the wrong cards."""
    hosts_by_version: dict[str, list[str]] = {}
    for host in inventory.groups.get("gpu_workers", []):
        hosts_by_version.setdefault(wanted(inventory, host), []).append(host)
    for text, hosts in hosts_by_version.items():
        if text and not VERSION.fullmatch(text):
            cure = f"write it in quotes, exactly as apt-cache madison {PACKAGE} has it"
            yield Finding(f"{text} is no version of its packages", cure, VARIABLE, ", ".join(hosts), VARIABLES_FILE)
        elif is_deaf(text):
            yield Finding(WHAT.format(text), CURE, VARIABLE, ", ".join(hosts), VARIABLES_FILE)


def check_installed(inventory: Inventory, looks: Mapping[str, Mapping[str, t.Any]]) -> Iterator[Finding]:
    """Refuse such a version where it is installed and would stay, unless the toolkit's mode is ``legacy``."""
    for host in inventory.groups.get("gpu_workers", []):
        look = looks.get(host, {})
        text = look.get("packages", {}).get(PACKAGE, {}).get("version", "")
        if is_deaf(text) and not wanted(inventory, host) and look.get("toolkit_mode") != "legacy":
            cure = f'{CURE}; or set mode = "legacy" in /etc/nvidia-container-runtime/config.toml'
            yield Finding(WHAT.format(text), cure, VARIABLE, host, VARIABLES_FILE)
