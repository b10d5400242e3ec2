"""What a look tells of a host's boot and package sources, with the standard library alone."""

from __future__ import annotations

import re
import time
from pathlib import Path

APT = Path("/etc/apt")


def boot_time() -> float:
    """Return when the kernel's monotonic clock was zero, in Unix seconds."""
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)


def booted(userspace: str) -> float:
    """Return when this system was booted, in Unix seconds; a container that is a host has a time of its own.

    Args:
        userspace: systemd's UserspaceTimestampMonotonic, in microseconds; empty where systemd does not tell.
    """
    return boot_time() + int(userspace.strip() or 0) / 1e6


def components(apt: Path = APT) -> list[str]:
    """Return the components of all package sources, sorted (sources.list(5), both formats)."""
    found: set[str] = set()
    for path in (apt / "sources.list", *apt.glob("sources.list.d/*.list")):
        for line in path.read_text().splitlines() if path.exists() else []:
            words = re.sub(r"\[.*?\]|#.*", "", line).split()
            found.update(words[3:] if words[:1] == ["deb"] else [])
    for path in apt.glob("sources.list.d/*.sources"):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            if not re.search(r"^Enabled:\s*no\b", stanza, re.M | re.I):
                for names in re.findall(r"^Components:(.*)$", stanza, re.M | re.I):
                    found.update(names.split())
    return sorted(found)
