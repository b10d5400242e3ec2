"""The cards of this host as NVIDIA's driver tells them, and what is wrong with them; standard library only.

Source: nvidia-smi(1), "SELECTIVE QUERY OPTIONS" and "RETURN VALUE" (https://docs.nvidia.com/deploy/nvidia-smi/); its
exit codes are NVML's nvmlReturn_t (https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html). What a lost
card makes it print differs from driver to driver, so lines are read before the exit code.
"""

from __future__ import annotations

import re
import subprocess
import typing as t
from pathlib import Path

Facts = dict[str, t.Any]

TIMEOUT = 20  # seconds; with persistence mode off and eight cards an answer takes up to about ten
FIELDS = ("index", "uuid", "name", "memory.total", "driver_version", "pci.bus_id", "mig.mode.current")
QUERY = (f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")

BUS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-9a-f])", re.I)
LOST = re.compile(r"Unable to determine the device handle for GPU\s*(?P<card>\S.*?): +(?P<why>[^:]+)", re.I)
CORRUPT = re.compile(r"WARNING: infoROM is corrupted at gpu (?P<card>\S+)", re.I)
# A file for each card that the module has seen; question marks in place of what it never read.
PROC = Path("/proc/driver/nvidia/gpus")
REMEMBERED = re.compile(r"^GPU UUID:\s+(GPU-[0-9a-f-]+)\s*$", re.MULTILINE)
NONE_FOUND = "No devices were found"
LISTED_CARD = re.compile(r"GPU \d+: .*\(UUID: (?P<uuid>GPU-[^)]+)\)")
LISTED_INSTANCE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>MIG-[^)]+)\)")

LOST_CURE = (
    "reboot the host; if it is lost again, look at its power and seat (dmesg, Xid 79) and keep it out with gpu_exclude"
)


class Answer(t.NamedTuple):
    """What nvidia-smi did: its exit code (``None`` when it did not end in time, 127 when there is none) and output."""

    code: int | None
    output: str


Ask = t.Callable[..., Answer]


def ask(*arguments: str) -> Answer:
    """Run nvidia-smi."""
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except FileNotFoundError:
        return Answer(127, "")
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        # Stuck inside the driver it cannot even be killed, so nobody waits for that (subprocess.run would).
        process.kill()
        return Answer(None, "")
    return Answer(process.returncode, output)


def read(ask: Ask = ask) -> Facts:
    """Return ``{"cards": [...], "faults": [...]}``, cards in the driver's order.

    A card is ``{index: int, uuid: str, name: str, memory_mb: int, driver: str, bus: str, mig: bool, instances:
    [{profile: "1g.10gb", uuid: "MIG-…"}]}``; ``memory_mb`` (MiB) is 0 where the driver does not tell, ``bus`` is
    written as lspci does. A fault is ``{card: str | None, what: str, cure: str, reboot: bool}``: ``card`` is the UUID
    where anything still tells it, else the bus, else the number that the driver names it by, ``None`` when it is about
    the driver as a whole; ``what`` and ``cure`` are clauses; ``reboot`` tells that a reboot usually mends it.
    """
    answer = ask(*QUERY)
    cards, faults = _table(answer.output)
    if not cards and not any(fault["card"] for fault in faults):
        return {"cards": [], "faults": [_driver_fault(answer)]}
    cut = {card["uuid"] for card in cards if card["mig"]}
    listed = {}
    if faults or cut:
        answer = ask("-L")
        listed = _listing(answer.output)
        # A query may end at the first lost card; a list tells them all.
        lost = _table("\n".join(line for line in answer.output.splitlines() if LOST.fullmatch(line)))[1]
        faults += [fault for fault in lost if fault["card"] not in {each["card"] for each in faults}]
    if not cut <= listed.keys():
        # Without their instances the cards would seem to have left the pool.
        return {"cards": [], "faults": [*faults, _driver_fault(answer)]}
    if faults:
        more, faults = _one_by_one(ask, listed.keys() - {card["uuid"] for card in cards}, faults)
        cards += more
    cards = [{**card, "instances": listed.get(card["uuid"], [])} for card in cards]
    return {"cards": sorted(cards, key=lambda card: card["index"]), "faults": [*faults, *_uncut(cards)]}


def _one_by_one(ask: Ask, uuids: t.Iterable[str], faults: list[Facts]) -> tuple[list[Facts], list[Facts]]:
    """Ask for the cards that a lost one kept out of the answer; return them, and all faults, by UUID where it is known.

    The driver may go on listing a lost card, and its own answer then tells which one it is.
    """
    by_card = {fault["card"] or fault["what"]: fault for fault in faults}
    cards: list[Facts] = []
    for uuid in sorted(set(uuids) - by_card.keys()):
        found, said = _table(ask(f"--id={uuid}", *QUERY).output)
        cards += found
        lost = next((fault["card"] for fault in said if fault["card"] in by_card), None)
        if lost:
            by_card[lost] = _named(by_card[lost], uuid)
        elif not found:
            by_card[uuid] = _lost(uuid, "no answer")
    return cards, [_named(fault, uuid_at(fault["card"] or "")) for fault in by_card.values()]


def _named(fault: Facts, uuid: str) -> Facts:
    """Return a fault that names its card by bus with the card's UUID instead, where there is one."""
    bus = fault["card"] or ""
    return {**fault, "card": uuid, "what": f"at {bus} {fault['what']}"} if uuid and bus_of(bus) else fault


def uuid_at(bus: str) -> str:
    """Return the UUID of the card at a bus address as the kernel module remembers it; empty when it does not."""
    path = PROC / bus / "information"
    match = REMEMBERED.search(path.read_text()) if bus and path.exists() else None
    return match[1] if match else ""


def bus_of(text: str) -> str:
    """Return the first bus address in ``text`` as lspci writes it (``0000:0b:00.0``), empty when there is none."""
    match = BUS.search(text)
    return f"{match[1][-4:]}:{match[2]}:{match[3]}.{match[4]}".lower() if match else ""


def _table(output: str) -> tuple[list[Facts], list[Facts]]:
    """Return the cards that a query tells, and a fault for every line that is something else."""
    cards: list[Facts] = []
    faults: dict[str, Facts] = {}
    for line in filter(None, map(str.strip, output.splitlines())):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(FIELDS) and cells[0].isdigit():
            if card := _card(cells):
                cards.append(card)
                continue
            found = _lost_row(cells)
        elif match := LOST.fullmatch(line):
            found = _lost(bus_of(match["card"]) or f"GPU{match['card'].strip()}", match["why"].strip(" ."))
        elif match := CORRUPT.match(line):
            cure = "it works on, but plan its replacement (nvidia-smi -q)"
            found = _fault(bus_of(match["card"]) or match["card"], "has a corrupted infoROM", cure)
        elif line != NONE_FOUND:
            found = _fault(None, f"nvidia-smi said {line[:200]!r}", "run it on the host and mend what it says")
        else:
            continue
        faults.setdefault(found["card"] or line, found)
    return cards, list(faults.values())


def _card(cells: list[str]) -> Facts | None:
    """Return the card of one row, ``None`` where the driver put an error such as ``[GPU is lost]`` in place of it."""
    index, uuid, name, memory, driver, bus, mig = cells
    if not uuid.startswith("GPU-") or any(map(_is_error, cells)):
        return None
    return {
        "index": int(index),
        "uuid": uuid,
        "name": name,
        "memory_mb": int(float(memory)) if memory[:1].isdigit() else 0,
        "driver": driver,
        "bus": bus_of(bus),
        "mig": mig == "Enabled",
    }


def _is_error(cell: str) -> bool:
    """Tell an error in a cell from a value, or from what this kind of card does not have."""
    return cell.startswith("[") and cell not in ("[N/A]", "[Not Supported]", "[Not Found]")


def _lost_row(cells: list[str]) -> Facts:
    index, uuid, bus = cells[0], cells[1], bus_of(cells[5])
    why = next(filter(_is_error, cells), "no UUID").strip("[]")
    known = uuid if uuid.startswith("GPU-") else ""
    return _named(_lost(bus or known or f"GPU{index}", why), known)


def _listing(output: str) -> dict[str, list[Facts]]:
    """Return the MIG instances of each card that ``nvidia-smi -L`` lists, by the card's UUID."""
    listed: dict[str, list[Facts]] = {}
    instances: list[Facts] = []
    for line in output.splitlines():
        if match := LISTED_CARD.match(line):
            instances = listed.setdefault(match["uuid"], [])
        elif match := LISTED_INSTANCE.match(line):
            instances.append({"profile": match["profile"], "uuid": match["uuid"]})
    return listed


def _uncut(cards: list[Facts]) -> list[Facts]:
    cure = (
        "make instances (nvidia-smi mig -cgi … -C; they do not outlive a reboot), or end the mode (nvidia-smi -mig 0)"
    )
    return [
        _fault(card["uuid"], "is in MIG mode and has no instance, so nobody can use it", cure)
        for card in cards
        if card["mig"] and not card["instances"]
    ]


def _fault(card: str | None, what: str, cure: str, reboot: bool = False) -> Facts:
    return {"card": card, "what": what, "cure": cure, "reboot": reboot}


def _lost(card: str, why: str) -> Facts:
    return _fault(card, f"does not answer ({why})", LOST_CURE, reboot=True)


def _driver_fault(answer: Answer) -> Facts:
    """Return why no card is shown at all."""
    code, said = answer.code, " ".join(answer.output.split())
    if code in DRIVER_FAULTS:
        return _fault(None, *DRIVER_FAULTS[code])
    if NONE_FOUND in said:
        return _fault(None, *DRIVER_FAULTS[6])
    cure = "run nvidia-smi on the host and mend what it says; drivers before 450 are too old"
    return _fault(None, f"nvidia-smi ended with code {code} and said {said[:200]!r}, which cannot be read", cure)


# what, cure, and whether a reboot usually mends it, by exit code.
DRIVER_FAULTS: dict[int | None, tuple[str, str, bool]] = {
    None: (
        f"nvidia-smi did not answer in {TIMEOUT} s: the driver or a card hangs",
        "look for Xid in dmesg, then reboot the host; a process that hangs in the driver cannot be ended",
        True,
    ),
    6: (
        "the driver finds no card",
        "look whether the board is there and has power (lspci -d 10de:, dmesg), or move the host to cpu_workers",
        False,
    ),
    9: (
        "the driver is installed and not loaded",
        "reboot the host; if that does not help, its module was not built for this kernel (dkms status, "
        "linux-headers) or is not signed (Secure Boot)",
        True,
    ),
    12: (
        "the driver's library libnvidia-ml is missing",
        "install the driver's packages again, all of one version",
        False,
    ),
    18: (
        "the loaded driver and its libraries have different versions, as after an upgrade",
        "reboot the host",
        True,
    ),
    127: (
        "there is no nvidia-smi, so no driver is installed",
        "install the driver, or let this do it (gpu_driver), or move the host to cpu_workers",
        False,
    ),
}
