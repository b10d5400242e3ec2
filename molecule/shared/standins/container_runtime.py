"""Stand-in for nvidia-container-runtime: gives a new container the cards that it asks for, then hands over to runc.

Every container that is created leaves a line in /var/log/swarmhub-lab/containers.jsonl (SWARMHUB_LAB_LOG): its id, the
variables that had a say, the UUIDs that it was given, and why it was refused if so.

One thing differs: a driver that hangs would hold up the real runtime too; here the container starts, and nvidia-smi
hangs in it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import oci_bundle, toolkit_config, visible_devices
from .given_cards import Refused, check_driver, chosen, load, uuids

Json = dict[str, Any]


def option(arguments: list[str], *names: str) -> str | None:
    """The value of a command-line option; None where it is not given."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else arguments[place + 1]
    return None


def tell(arguments: list[str], words: str) -> None:
    """Say why a container does not start, where the engine looks for it (internal/runtime/logger.go)."""
    print(words, file=sys.stderr)
    if file := option(arguments, "--log"):
        with Path(file).open("a") as stream:
            stream.write(json.dumps({"level": "error", "msg": words}) + "\n")


def mode_of(settings: Json) -> str:
    """How the toolkit works: in just-in-time CDI since 1.18 (internal/info, ResolveRuntimeMode), unless it is told."""
    mode: str = toolkit_config.get(settings, "nvidia-container-runtime.mode") or "auto"
    if mode not in ("auto", "jit-cdi", "legacy"):
        raise Refused(f"the stand-in knows no mode {mode}")
    return "jit-cdi" if mode == "auto" else mode


def prepare(bundle: Path, settings: Json, version: tuple[int, ...], record: Json) -> None:
    """Change the bundle as its container asks, and record what it asked for and got.

    Raises:
        Refused: the container must not start.
    """
    file = bundle / "config.json"
    spec: Json = json.loads(file.read_text())
    process = spec["process"]
    variables = visible_devices.environment(process["env"])
    swarm_resource = settings.get("swarm-resource", "")
    telling = {"NVIDIA_VISIBLE_DEVICES", *(part.strip() for part in swarm_resource.split(","))}
    record["variables"] = {name: variables[name] for name in sorted(telling & variables.keys())}
    mode = record["mode"] = mode_of(settings)

    names = visible_devices.preferred(swarm_resource, mode, version)
    accepted = settings.get("accept-nvidia-visible-devices-envvar-when-unprivileged", True)
    bounding = process.get("capabilities", {}).get("bounding", [])
    asked = visible_devices.obeyed(visible_devices.requested(variables, names), accepted, bounding)
    if asked == [visible_devices.VOID]:
        return  # as under runc

    host = load()
    check_driver(host, mode)
    cards = chosen(host, asked, mode)
    record["given"] = uuids(cards)
    oci_bundle.add_devices(spec, cards)
    if visible_devices.brings_programs(variables, settings.get("supported-driver-capabilities", ""), mode):
        oci_bundle.add_programs(spec, bundle, oci_bundle.container_view(host, cards))
    if mode == "jit-cdi":
        oci_bundle.hide_request(spec)
    file.write_text(json.dumps(spec))


def log(record: Json) -> None:
    """Append a line to the log that tests read."""
    path = Path(os.environ.get("SWARMHUB_LAB_LOG") or "/var/log/swarmhub-lab/containers.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write(json.dumps(record) + "\n")


def create(container: str, bundle: Path, settings: Json) -> None:
    """Prepare a container, and log it.

    Raises:
        Refused: the container must not start.
    """
    record: Json = {"container": container, "mode": "", "variables": {}, "given": [], "refused": ""}
    try:
        prepare(bundle, settings, toolkit_config.version(), record)
    except Refused as refused:
        record["refused"] = str(refused)
        raise
    finally:
        log(record)


def main() -> NoReturn:
    """Prepare the container that runc's arguments create, and become runc."""
    arguments = sys.argv[1:]
    bundle = Path(option(arguments, "-b", "--bundle") or ".")
    try:
        create(arguments[-1], bundle, toolkit_config.read(toolkit_config.path()))
    except Refused as refused:
        tell(arguments, str(refused))
        sys.exit(1)
    os.execvp("runc", ["runc", *arguments])  # noqa: S606 - the arguments are a list, and no shell is wanted
