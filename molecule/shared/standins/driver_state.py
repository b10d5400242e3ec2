"""Stand-in for what a driver's packages and a boot do to a machine; it keeps the state in the file of the cards.

    swarmhub-lab-driver library VERSION   the libraries are replaced, which holds at once
    swarmhub-lab-driver boot VERSION      the machine boots, which loads the module of that version

A machine that comes without a driver is described as "not loaded". It stays so after the first installation, and an
upgrade of a loaded one is a "Driver/library version mismatch", until the machine boots: nvidia-kernel-dkms brings a
unit for that.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def changed(host: dict[str, Any], step: str, version: str) -> dict[str, Any]:
    """The host's description after a step."""
    if step == "library":
        return {**host, "library": version}
    return {**host, "driver": version, "fault": None if host["fault"] == "not loaded" else host["fault"]}


def main() -> int:
    """Do one step; on a machine without cards there is nothing to change."""
    _, step, version = sys.argv
    path = Path(os.environ.get("SWARMHUB_LAB_CARDS") or "/etc/swarmhub-lab/cards")
    if path.exists():
        path.write_text(json.dumps(changed(json.loads(path.read_text()), step, version), indent=1))
    return 0
