"""What of a host's differences must not be settled now: notebooks run there, or nobody asked for a reboot.

A role names under ``when_idle`` which of its packages, files and units disturb running notebooks, and under ``reboot``
what only a reboot can settle.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.differences import KINDS, Owned, State, differences, package_name, sentences

Found = dict[str, dict[str, dict[str, str]]]

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
        ``installs`` (whether packages are to be settled now), and ``turn``: ``drain`` or ``restart`` where the host
        must be changed while no other is, else empty.
    """
    found = differences(owned_by_role, state)
    notebooks = int((state.get("engine") or {}).get("notebooks") or 0)
    reboots = any(kinds["reboot"] for kinds in found.values())
    idle: Found = {}
    boot: Found = {}
    now: Found = {}
    for role, kinds in found.items():
        disturbing = set(owned_by_role[role].get("when_idle", []))
        for kind, entries in kinds.items():
            for name, reason in entries.items():
                disturbs = kind in DISTURBING_KINDS and package_name(name) in disturbing
                if kind == "reboot":
                    place = boot if not may["reboot"] else idle if notebooks else now
                elif disturbs and notebooks and not may["disturb"]:
                    place = idle
                # Cards that a reboot brings back must not be taken from the engine's settings meanwhile.
                elif disturbs and kind != "packages" and reason != "missing" and reboots:
                    place = boot
                else:
                    place = now
                place.setdefault(role, {each: {} for each in KINDS})[kind][name] = reason
    waits = [
        {"what": "; ".join(sentences(idle)), "cure": _until_idle(notebooks)} if idle else None,
        {"what": "; ".join(sentences(boot)), "cure": UNTIL_REBOOT} if boot else None,
    ]
    swarm = state.get("swarm") or {}
    turn = ""
    if idle and may["drain"] and swarm.get("state") == "active":
        turn = "drain"
    elif swarm.get("control_available") and _restarts(now, owned_by_role, may["reboot"]):
        turn = "restart"
    return {
        "differences": found,
        "now": now,
        "waits": [each for each in waits if each],
        "installs": any(kinds["packages"] for kinds in now.values()),
        "turn": turn,
    }


def _restarts(now: Found, owned_by_role: Mapping[str, Owned], may_reboot: bool) -> bool:
    """Tell whether settling this restarts the engine or the host; a new driver may come to that."""

    def disturbing(role: str, kind: str) -> bool:
        return any(package_name(name) in owned_by_role[role].get("when_idle", []) for name in now[role][kind])

    kinds = DISTURBING_KINDS if may_reboot else ("files", "restart")
    return any(now[role]["reboot"] or any(disturbing(role, kind) for kind in kinds) for role in now)


def _until_idle(notebooks: int) -> str:
    run = f"{notebooks} notebooks run" if notebooks > 1 else "a notebook runs"
    return f"{run} there: run again when none does, or with -e docker_engine_restart=drain, which ends them"


def pending(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> list[str]:
    """Return one line for each thing that waits on any host (fact ``node_waits``)."""
    return [
        f"{host} — {wait['what']}; {wait['cure']}" for host in hosts for wait in hostvars[host].get("node_waits", [])
    ]
