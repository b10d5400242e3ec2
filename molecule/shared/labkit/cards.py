"""The stand-in cards of a host, as /etc/swarmhub-lab/cards describes them to the stand-ins of driver and toolkit."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypedDict

CARDS_FILE = "/etc/swarmhub-lab/cards"
DRIVER = "550.163.01"  # as in Debian 13
MEMORY = {  # MiB, as nvidia-smi counts it
    "NVIDIA RTX A6000": 49140,
    "NVIDIA GeForce RTX 3090": 24576,
    "NVIDIA A100-SXM4-40GB": 40960,
}

Fault = Literal["not loaded", "hangs"]


class Instance(TypedDict):
    """A part of a card in MIG mode; `profile` is NVIDIA's name of its size, such as 1g.5gb."""

    profile: str
    uuid: str


class Card(TypedDict):
    """One card. `mig` is None where the model has no such mode, and empty where it is switched off.

    `utilization` is the share of the time in which it works, in per cent.
    """

    index: int
    uuid: str
    name: str
    memory_mb: int
    bus: str
    mig: list[Instance] | None
    lost: bool
    utilization: int


class Description(TypedDict):
    """A host's driver and cards. The versions differ from an upgrade under a loaded module until the next boot."""

    driver: str
    library: str
    fault: Fault | None
    cards: list[Card]


def describe(
    uuids: Sequence[str],
    model: str = "NVIDIA RTX A6000",
    *,
    driver: str = DRIVER,
    library: str = "",
    fault: Fault | None = None,
    mig: Mapping[int, Sequence[str]] | None = None,
    lost: Collection[int] = (),
) -> Description:
    """Describe a host with cards of one model.

    Args:
        uuids: the cards' UUIDs, in the order of their indices.
        model: their model, as nvidia-smi names it.
        driver: version of the module in the kernel.
        library: version of the libraries; the driver's unless given.
        fault: what is wrong with the driver.
        mig: profiles of the MIG instances, by the card's index; it makes all cards of a model that has the mode.
        lost: indices of cards that have fallen off the bus.
    """
    cards: list[Card] = [
        {
            "index": index,
            "uuid": card,
            "name": model,
            "memory_mb": MEMORY[model],
            "bus": f"00000000:{index + 1:02X}:00.0",
            "mig": None if mig is None else _instances(card, mig.get(index, ())),
            "lost": index in lost,
            "utilization": 0,
        }
        for index, card in enumerate(uuids)
    ]
    return {"driver": driver, "library": library or driver, "fault": fault, "cards": cards}


def _instances(card: str, profiles: Sequence[str]) -> list[Instance]:
    """The instances of a card, with the same UUIDs for the same profiles."""
    space = uuid.UUID(card.removeprefix("GPU-"))
    return [
        {"profile": profile, "uuid": f"MIG-{uuid.uuid5(space, f'{place}/{profile}')}"}
        for place, profile in enumerate(profiles)
    ]
