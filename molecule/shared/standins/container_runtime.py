"""Stand-in for nvidia-container-runtime: gives a container the cards that it asks for, then hands over to runc.

Every container that is created leaves a line in /var/log/swarmhub-lab/containers.jsonl (SWARMHUB_LAB_LOG): its id, the
variables that had a say, the UUIDs that it was given, and why it was refused if so.

A container that names a card which is not there must not start; the sentences are those of the real toolkit, by mode:
pkg/nvcdi/lib-nvml.go (getNVMLDevicesByID) in jit-cdi, nvidia-container-cli's in legacy. One thing differs: a driver
that hangs would hold up the real runtime too; here the container starts and nvidia-smi hangs in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import oci_bundle, toolkit_config, visible_devices

Json = dict[str, Any]
UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Refused(Exception):
    """Why a container does not start."""


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


def check_driver(host: Json, mode: str) -> None:
    """Refuse what NVML would refuse at its initialisation."""
    if host["fault"] == "not loaded":
        fault = "driver not loaded" if mode == "legacy" else "Driver Not Loaded"
    elif host["driver"] != host["library"]:
        fault = "driver/library version mismatch" if mode == "legacy" else "Driver/library version mismatch"
    elif mode == "legacy" and any(card["lost"] for card in host["cards"]):
        # nvidia-container-cli looks at every card before it takes one
        raise Refused("nvidia-container-cli: detection error: nvml error: unknown error")
    else:
        return
    if mode == "legacy":
        raise Refused(f"nvidia-container-cli: initialization error: nvml error: {fault}")
    raise Refused(f"failed to construct OCI spec modifier: failed to initialize NVML: {fault}")


def find(host: Json, name: str, mode: str) -> tuple[Json, Json | None]:
    """The card that a name stands for, and the instance on it when it stands for one.

    A name is an index, `card:instance` by index, or a full UUID (go-nvlib, pkg/nvlib/device/identifier.go); mode legacy
    takes the beginning of a UUID as well, which the variable's documentation has as an example.
    """
    for card in host["cards"]:
        instances = card["mig"] or []
        found: tuple[Json, Json | None] | None = None
        if name in (str(card["index"]), card["uuid"]) or (
            mode == "legacy" and name.startswith("GPU-") and card["uuid"].startswith(name)
        ):
            found = card, None
        for place, instance in enumerate(instances):
            if name in (f"{card['index']}:{place}", instance["uuid"]):
                found = card, instance
        if found and card["lost"]:
            raise Refused(unknown(name, "Unknown Error", mode))
        if found:
            return found
    known_form = name.isdecimal() or re.fullmatch(r"\d+:\d+", name) or UUID.fullmatch(name)
    raise Refused(
        unknown(name, "Not Found" if known_form else f'identifier is not a valid UUID or index: "{name}"', mode)
    )


def unknown(name: str, why: str, mode: str) -> str:
    """What is said of a card that cannot be given."""
    if mode == "legacy":
        return f"nvidia-container-cli: device error: {name}: unknown device"
    return f'failed to construct OCI spec modifier: failed to get NVML device handle for identifier "{name}": {why}'


def chosen(host: Json, asked: list[str], mode: str) -> list[Json]:
    """The cards that are given, in their order, each with the instances that are given of it."""
    if asked == [visible_devices.NONE]:
        return []
    if asked == [visible_devices.ALL]:
        asked = [str(card["index"]) for card in host["cards"]]
    instances: dict[int, list[str] | None] = {}
    for name in asked:
        card, instance = find(host, name, mode)
        taken = instances.setdefault(card["index"], [])
        if instance is None:
            instances[card["index"]] = None  # the whole card
        elif taken is not None:
            taken.append(instance["uuid"])
    cards = [card for card in host["cards"] if card["index"] in instances]
    return [
        card if (only := instances[card["index"]]) is None
        else {**card, "mig": [each for each in card["mig"] if each["uuid"] in only]}
        for card in cards
    ]  # fmt: skip


def given_uuids(cards: list[Json]) -> list[str]:
    """The UUIDs of what a container has: of its cards, and of the instances where a card is divided."""
    return [uuid for card in cards for uuid in [part["uuid"] for part in card["mig"] or []] or [card["uuid"]]]


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

    host = json.loads(Path(os.environ.get("SWARMHUB_LAB_CARDS") or "/etc/swarmhub-lab/cards").read_text())
    check_driver(host, mode)
    cards = chosen(host, asked, mode)
    record["given"] = given_uuids(cards)
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
    """Prepare the container, if one is created, and become the runtime below."""
    arguments = sys.argv[1:]
    settings = toolkit_config.read(toolkit_config.path())
    try:
        if "create" in arguments:
            create(arguments[-1], Path(option(arguments, "-b", "--bundle") or "."), settings)
    except Refused as refused:
        tell(arguments, str(refused))
        sys.exit(1)
    runtimes = toolkit_config.get(settings, "nvidia-container-runtime.runtimes") or ["runc", "crun"]
    below = next(filter(shutil.which, runtimes), "runc")
    os.execvp(below, [below, *arguments])  # noqa: S606 - the arguments are a list, and no shell is wanted
