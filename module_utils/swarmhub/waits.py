"""What of a host's differences must not be settled now: notebooks run there, or nobody asked for a reboot.

A role names under ``when_idle`` which of its packages, files and units disturb running notebooks, and under ``reboot``
what only a reboot can settle.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.differences import KINDS, Owned, State, differences, package_name, sentences

Found = dict[str, dict[str, dict[str, str]]]
When = t.Literal["now", "idle", "rebooted"]

# A unit that is stopped or not enabled yet carries no notebook, and what is missing was not in use.
DISTURBING_KINDS = ("packages", "files", "restart")
UNTIL_REBOOT = "reboot it and run again, or run with -e gpu_reboot=true"


def compare(owned_by_role: Mapping[str, Owned], state: State, may: Mapping[str, bool]) -> dict[str, t.Any]:
    """Return what differs on a host, parted into what is settled now and what waits.

    Args:
        owned_by_role: what each role wants, as module differences describes it.
        state: what a look found.
        may: ``disturb`` running notebooks, ``drain`` the node so that none runs, ``reboot`` the host once none runs.

    Returns:
        ``differences`` (all of them), ``now`` (those of them to settle), ``waits``, a list of ``{what, cure}``,
        ``engine_waits`` (whether the engine goes on with older settings), ``installs`` (whether packages are to be
        settled now), and ``turn``: ``drain`` or ``restart`` where the host must be changed while no other is, else
        empty.
    """
    found = differences(owned_by_role, state)
    notebooks = int((state.get("engine") or {}).get("notebooks") or 0)
    # An engine that runs and does not answer may have any number of them.
    busy = notebooks > 0 or bool(state.get("engine_fault"))
    # Where a reboot brings the driver back, its cards must not be taken from the engine's settings meanwhile. A card
    # that is lost among others is taken: swarm would go on handing it out.
    driver_returns = not state.get("cards") and any(kinds["reboot"] for kinds in found.values())

    def when(role: str, kind: str, name: str, reason: str) -> When:
        if kind == "reboot":
            return "rebooted" if not may["reboot"] else "idle" if busy else "now"
        if not _disturbs(owned_by_role[role], kind, name):
            return "now"
        if busy and not may["disturb"]:
            return "idle"
        return "rebooted" if driver_returns and kind != "packages" and reason != "missing" else "now"

    parts: dict[When, Found] = {"now": {}, "idle": {}, "rebooted": {}}
    for role, kinds in found.items():
        for kind, entries in kinds.items():
            for name, reason in entries.items():
                part = parts[when(role, kind, name, reason)].setdefault(role, {each: {} for each in KINDS})
                part[kind][name] = reason
    cures: dict[When, str] = {"idle": _until_idle(notebooks), "rebooted": UNTIL_REBOOT}
    return {
        "differences": found,
        "now": parts["now"],
        "waits": [
            {"what": "; ".join(sentences(parts[part])), "cure": cure} for part, cure in cures.items() if parts[part]
        ],
        "engine_waits": any("docker_engine" in parts[part] for part in cures),
        "installs": any(kinds["packages"] for kinds in parts["now"].values()),
        "turn": _turn(parts, owned_by_role, state.get("swarm") or {}, may),
    }


def _disturbs(owned: Owned, kind: str, name: str) -> bool:
    return kind in DISTURBING_KINDS and package_name(name) in map(package_name, owned.get("when_idle", []))


def _turn(
    parts: Mapping[When, Found], owned_by_role: Mapping[str, Owned], swarm: State, may: Mapping[str, bool]
) -> str:
    restarts = _restarts(parts["now"], owned_by_role)
    # Who has no notebook now may have one when its turn comes.
    if may["drain"] and (parts["idle"] or restarts) and swarm.get("state") == "active":
        return "drain"
    return "restart" if swarm.get("control_available") and restarts else ""


def _restarts(now: Found, owned_by_role: Mapping[str, Owned]) -> bool:
    """Tell whether settling this restarts the engine or the host; new packages may show cards, and so come to that."""
    return any(
        kind == "reboot" or _disturbs(owned_by_role[role], kind, name)
        for role, kinds in now.items()
        for kind, entries in kinds.items()
        for name in entries
    )


def _until_idle(notebooks: int) -> str:
    if not notebooks:
        return "its engine does not answer, and notebooks may run there: run again when it does"
    run = f"{notebooks} notebooks run" if notebooks > 1 else "a notebook runs"
    return f"{run} there: run again when none does, or with -e docker_engine_restart=drain, which empties it first"


def pending(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> list[str]:
    """Return one line for each thing that waits on any host (fact ``node_compared``)."""
    return [
        f"{host} — {wait['what']}; {wait['cure']}"
        for host in hosts
        for wait in hostvars[host].get("node_compared", {}).get("waits", [])
    ]


def differing(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> list[str]:
    """Return one line for each thing that differs on any host (fact ``node_compared``)."""
    return [f"{host} — {line}" for host in hosts for line in sentences(hostvars[host]["node_compared"]["differences"])]
