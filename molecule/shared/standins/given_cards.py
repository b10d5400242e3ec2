"""From what a container asks for to the cards that it is given, or to why it must not start.

The sentences are those of the real toolkit, by mode: NVIDIA/nvidia-container-toolkit, pkg/nvcdi/lib-nvml.go
(getNVMLDevicesByID), in jit-cdi; nvidia-container-cli's in legacy.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .visible_devices import ALL, NONE

Json = dict[str, Any]
UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Refused(Exception):
    """Why a container does not start."""


def load() -> Json:
    """Read the description of the driver and its cards; labkit/cards.py explains it."""
    path = Path(os.environ.get("SWARMHUB_LAB_CARDS") or "/etc/swarmhub-lab/cards")
    host: Json = json.loads(path.read_text()) if path.exists() else {"fault": "not loaded", "cards": []}
    return host


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


def named(host: Json) -> Iterator[tuple[set[str], Json, Json | None]]:
    """Everything that can be given: its index and its UUID, its card, and its instance unless it is the whole card."""
    for card in host["cards"]:
        yield {str(card["index"]), card["uuid"]}, card, None
        for place, instance in enumerate(card["mig"] or []):
            yield {f"{card['index']}:{place}", instance["uuid"]}, card, instance


def find(host: Json, name: str, mode: str) -> tuple[Json, Json | None]:
    """The card that a name stands for, and the instance on it when it stands for one.

    A name is an index, `card:instance` by index, or a full UUID (go-nvlib, pkg/nvlib/device/identifier.go); mode legacy
    takes the beginning of a UUID as well, which the variable's documentation has as an example.
    """
    for names, card, instance in named(host):
        begins = mode == "legacy" and name.startswith("GPU-") and any(each.startswith(name) for each in names)
        if name in names or begins:
            if card["lost"]:
                raise Refused(unknown(name, "Unknown Error", mode))
            return card, instance
    if name.isdecimal() or re.fullmatch(r"\d+:\d+", name) or UUID.fullmatch(name):
        raise Refused(unknown(name, "Not Found", mode))
    raise Refused(unknown(name, f'identifier is not a valid UUID or index: "{name}"', mode))


def unknown(name: str, why: str, mode: str) -> str:
    """What is said of a card that cannot be given."""
    if mode == "legacy":
        return f"nvidia-container-cli: device error: {name}: unknown device"
    return f'failed to construct OCI spec modifier: failed to get NVML device handle for identifier "{name}": {why}'


def chosen(host: Json, asked: list[str], mode: str) -> list[Json]:
    """The cards that are given, in their order, each with the instances that are given of it."""
    if asked == [NONE]:
        return []
    if asked == [ALL]:
        asked = [str(card["index"]) for card in host["cards"]]
    wanted = [find(host, name, mode) for name in asked]
    given: list[Json] = []
    for card in host["cards"]:
        parts = [instance for owner, instance in wanted if owner is card]
        if None in parts:
            given.append(card)
        elif parts:
            given.append({**card, "mig": [instance for instance in card["mig"] if instance in parts]})
    return given


def uuids(cards: list[Json]) -> list[str]:
    """The UUIDs of what a container has: of its cards, and of the instances where a card is divided."""
    return [uuid for card in cards for uuid in [part["uuid"] for part in card["mig"] or []] or [card["uuid"]]]
