"""Stand-in for nvidia-smi: shows the cards that a file describes, with nvidia-smi's own words and exit codes.

The file is /etc/swarmhub-lab/cards, or what SWARMHUB_LAB_CARDS names; labkit/cards.py explains it. This module needs
no other, since the container runtime's stand-in puts it into containers as well.

Exit codes are those under RETURN VALUE in nvidia-smi(1); 18 is NVML_ERROR_LIB_RM_VERSION_MISMATCH, which NVML's manual
has and that page leaves out. Errors go to standard output, as nvidia-smi's do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

BAD_ARGUMENT, NOT_FOUND, NOT_LOADED, MISMATCH, OTHER = 2, 6, 9, 18, 255
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)
UNITS = {"memory.total": "MiB", "memory.used": "MiB", "utilization.gpu": "%"}
SYNONYMS = {"gpu_uuid": "uuid", "gpu_name": "name", "gpu_bus_id": "pci.bus_id"}


class Failure(Exception):
    """What ends the program: words and exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


def load() -> dict[str, Any]:
    """Read the description of the driver and its cards; without one there is no driver to talk to."""
    path = Path(os.environ.get("SWARMHUB_LAB_CARDS") or "/etc/swarmhub-lab/cards")
    if not path.exists():
        raise Failure(NO_DRIVER, NOT_LOADED)
    host: dict[str, Any] = json.loads(path.read_text())
    return host


def initialise(host: dict[str, Any]) -> None:
    """Do what nvmlInit does: find the module in the kernel, and see that it and the library belong together."""
    while host["fault"] == "hangs":  # a process that waits for a card's firmware does so for ever
        time.sleep(3600)
    if host["fault"] == "not loaded":
        raise Failure(NO_DRIVER, NOT_LOADED)
    if host["driver"] != host["library"]:
        library = ".".join(host["library"].split(".")[:2])
        words = "Failed to initialize NVML: Driver/library version mismatch"
        raise Failure(f"{words}\nNVML library version: {library}", MISMATCH)


def wanted(cards: list[dict[str, Any]], names: str) -> list[dict[str, Any]]:
    """The cards that -i names by index, UUID or bus id; all of them when it names none."""
    if not names:
        return cards
    asked = names.split(",")
    return [card for card in cards if {str(card["index"]), card["uuid"], card["bus"]} & set(asked)]


def lost(card: dict[str, Any], prefix: str) -> str:
    """What is said of a card that has fallen off the bus; a bus id has four digits less there."""
    return f"Unable to determine the device handle for {prefix}{card['bus'][4:]}: Unknown Error"


def listing(cards: list[dict[str, Any]]) -> int:
    """Print what -L shows. It goes on behind a card that is lost; that the exit code tells of it is our assumption."""
    for card in cards:
        if card["lost"]:
            print(lost(card, "gpu "))
            continue
        print(f"GPU {card['index']}: {card['name']} (UUID: {card['uuid']})")
        for place, instance in enumerate(card["mig"] or []):
            print(f"  MIG {instance['profile']:<11} Device {place:>2}: (UUID: {instance['uuid']})")
    return OTHER if any(card["lost"] for card in cards) else 0


def values(card: dict[str, Any], host: dict[str, Any]) -> dict[str, str]:
    """What can be asked about a card, by the name of the field."""
    mode = "[N/A]" if card["mig"] is None else "Enabled" if card["mig"] else "Disabled"
    return {
        "count": str(len(host["cards"])),
        "index": str(card["index"]),
        "uuid": card["uuid"],
        "name": card["name"],
        "memory.total": str(card["memory_mb"]),
        # Nobody computes here; a hot card is what a test writes into the file.
        "memory.used": str(card.get("memory_used_mb", 0)),
        "temperature.gpu": str(card.get("temperature", 40)),
        "driver_version": host["driver"],
        "pci.bus_id": card["bus"],
        "mig.mode.current": mode,
        "utilization.gpu": "[N/A]" if card["mig"] else str(card["utilization"]),
    }


def query(host: dict[str, Any], cards: list[dict[str, Any]], fields: list[str], style: list[str]) -> int:
    """Print a table in nvidia-smi's form of CSV."""
    rows = [values(card, host) for card in cards]
    for field in fields:
        if SYNONYMS.get(field, field) not in rows[0]:
            raise Failure(f'Field "{field}" is not a valid field to query.\n', BAD_ARGUMENT)
    units = {} if "nounits" in style else UNITS
    if "noheader" not in style:
        print(", ".join(f"{field} [{units[field]}]" if field in units else field for field in fields))
    for row in rows:
        cells = [(row[SYNONYMS.get(field, field)], units.get(field, "")) for field in fields]
        print(", ".join(f"{cell} {unit if cell.isdigit() else ''}".rstrip() for cell, unit in cells))
    return 0


def summary(host: dict[str, Any], cards: list[dict[str, Any]]) -> int:
    """Print the overview without arguments, in a shape of our own below the real one's first line."""
    print(f"| NVIDIA-SMI {host['library']}   Driver Version: {host['driver']}   CUDA Version: 12.4 |")
    return query(host, cards, ["index", "name", "pci.bus_id", "memory.total"], ["noheader"])


def options(arguments: list[str]) -> dict[str, str]:
    """Read the arguments that the stand-in knows; a value follows its option with `=` or as the next argument."""
    long = {"-i": "--id", "-L": "--list-gpus"}
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        name = long.get(name, name)
        if name not in ("--id", "--list-gpus", "--query-gpu", "--format"):
            raise Failure(f"Invalid combination of input arguments (stand-in): {argument}\n", BAD_ARGUMENT)
        found[name] = value if equals or name == "--list-gpus" else next(rest, "")
    return found


def run(arguments: list[str]) -> int:
    """Answer one call."""
    host = load()
    initialise(host)
    asked = options(arguments)
    cards = wanted(host["cards"], asked.get("--id", ""))
    if not cards:
        raise Failure("No devices were found", NOT_FOUND)
    if "--list-gpus" in asked:
        return listing(cards)
    for card in cards:
        if card["lost"]:  # one among those asked for spoils the answer
            raise Failure(lost(card, "GPU"), OTHER)
    if "--query-gpu" not in asked:
        return summary(host, cards)
    style = asked.get("--format", "").split(",")
    if "csv" not in style:
        raise Failure("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n", BAD_ARGUMENT)
    return query(host, cards, [field.strip() for field in asked["--query-gpu"].split(",")], style)


def main() -> int:
    """Answer and return the exit code."""
    try:
        return run(sys.argv[1:])
    except Failure as failure:
        print(failure)
        return failure.code


if __name__ == "__main__":
    sys.exit(main())
