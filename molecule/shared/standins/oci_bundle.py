"""Puts stand-in cards into a container's OCI bundle, before runc reads it.

A container gets a device file per card, and nvidia-smi with a description of its own cards alone. The libraries that
compute, /dev/nvidia-uvm and the files of MIG instances (/dev/nvidia-caps) are left out: nothing here would open them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
MAJOR, CONTROL = 195, 255  # of /dev/nvidia<N> and /dev/nvidiactl, in the kernel's devices.txt
INSIDE = "/etc/swarmhub-lab"
# An image needs no Python for the one question that the probe asks.
WRAPPER = """\
#!/bin/sh
if command -v python3 >/dev/null; then exec python3 {program} "$@"; fi
{answer}
"""
HANG = """\
if command -v sleep >/dev/null; then exec sleep 86400; fi
while :; do :; done"""


def container_view(host: Json, cards: list[Json]) -> Json:
    """What the driver shows in a container: its cards alone, counted from 0."""
    return {**host, "cards": [{**card, "index": place} for place, card in enumerate(cards)]}


def add_devices(spec: Json, cards: list[Json]) -> None:
    """Let the container have the cards' device files, and use them."""
    linux = spec.setdefault("linux", {})
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    files = [("/dev/nvidiactl", CONTROL), *((f"/dev/nvidia{card['index']}", card["index"]) for card in cards)]
    for name, minor in files:
        device = {"path": name, "type": "c", "major": MAJOR, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
        linux.setdefault("devices", []).append(device)
        rules.append({"allow": True, "type": "c", "major": MAJOR, "minor": minor, "access": "rwm"})


def add_programs(spec: Json, bundle: Path, view: Json) -> None:
    """Mount nvidia-smi into the container, when this host has one."""
    program = Path(__file__).with_name("nvidia_smi.py")
    if not program.exists():
        return
    folder = bundle / "swarmhub-lab"
    folder.mkdir()
    (folder / "cards").write_text(json.dumps(view))
    shutil.copy(program, folder)
    wrapper = folder / "nvidia-smi"
    wrapper.write_text(WRAPPER.format(program=f"{INSIDE}/{program.name}", answer=_answer(program, folder / "cards")))
    for path, mode in ((folder, 0o755), (wrapper, 0o755), (folder / "cards", 0o644), (folder / program.name, 0o644)):
        path.chmod(mode)  # whoever the container's user is
    flags = ["ro", "nosuid", "exec", "rbind"]  # where bundles lie, nothing may be executable
    for source, destination in ((folder, INSIDE), (wrapper, "/usr/bin/nvidia-smi")):
        mount = {"source": str(source), "destination": destination, "type": "bind", "options": flags}
        spec.setdefault("mounts", []).append(mount)


def _answer(program: Path, cards: Path) -> str:
    """Shell that does what `nvidia-smi -L` does in this container."""
    if json.loads(cards.read_text())["fault"] == "hangs":
        return HANG
    environment = {**os.environ, "SWARMHUB_LAB_CARDS": str(cards)}
    done = subprocess.run([sys.executable, program, "-L"], env=environment, capture_output=True, text=True, check=False)
    return f"printf '%s' {shlex.quote(done.stdout)}\nexit {done.returncode}"


def hide_request(spec: Json) -> None:
    """Tell a runtime inside the container that the cards have been dealt with, as every CDI specification does."""
    name = "NVIDIA_VISIBLE_DEVICES="
    process = spec["process"]
    process["env"] = [variable for variable in process["env"] if not variable.startswith(name)] + [f"{name}void"]
