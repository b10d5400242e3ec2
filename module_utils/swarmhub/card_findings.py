"""What is wrong with cards: how the inventory sorts them, before any host is contacted, and what a look then found."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.module_utils.swarmhub import card_kinds
from ansible.module_utils.swarmhub.cluster import kept_out
from ansible.module_utils.swarmhub.driver import cards_are_to_come
from ansible.module_utils.swarmhub.findings import HOSTS_FILE, VARIABLES_FILE, Finding

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

Look = Mapping[str, t.Any]
Looks = Mapping[str, Look]
Severity = t.Literal["error", "warning"]

_HEX = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# As nvidia-smi -L has them; MIG-GPU-… is what drivers before 470 call an instance.
UUID = re.compile(rf"(GPU-|MIG-){_HEX}|MIG-GPU-{_HEX}/\d+/\d+", re.IGNORECASE)
UUID_CURE = "write the full one that nvidia-smi -L shows, such as GPU-6b1c2f7e-0000-4000-8000-000000000001"
LISTS = ("gpu_exclude", "gpu_shared")


def check_lists(inventory: Inventory) -> Iterator[Finding]:
    """Entries of ``gpu_exclude`` and ``gpu_shared`` that are no UUIDs, and cards that are in both."""
    for host, variables in inventory.hosts.items():
        lists = {key: list(map(str, value)) for key in LISTS if isinstance(value := variables.get(key), (list, tuple))}
        for key, value in lists.items():
            for text in value:
                if not UUID.fullmatch(text):
                    yield Finding(f"{text!r} is no UUID of a card", UUID_CURE, key, host, HOSTS_FILE)
        for uuid in sorted(set.intersection(*map(set, lists.values())) if len(lists) == len(LISTS) else ()):
            what = f"{uuid} is in gpu_exclude as well"
            yield Finding(what, "keep it in one of the two", "gpu_shared", host, HOSTS_FILE)


def check_cards(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """GPU workers whose driver shows no card, cards that are lost, and listed UUIDs that are not there."""
    for host in inventory.groups.get("gpu_workers", []):
        if host not in looks or cards_are_to_come(inventory, host, looks[host]):
            continue
        cards, excluded = looks[host]["cards"], inventory.hosts[host].get("gpu_exclude") or []
        # Of a card that nobody gets, nobody needs to know.
        faults = [fault for fault in looks[host]["card_faults"] if fault["card"] not in excluded]
        may_reboot = boolean({**inventory.settings, **inventory.hosts[host]}["gpu_reboot"], strict=False)
        serves = bool((looks[host].get("engine") or {}).get("advertised"))
        for fault in faults:
            # With one card left the host is of use. What a reboot mends is taken or listed as pending, where the cards
            # have served before; a new host whose driver does not work is refused.
            mends = fault["reboot"] and (may_reboot or serves)
            severity: Severity = "warning" if cards or mends else "error"
            key = f"card {fault['card']}" if fault["card"] else "driver"
            yield Finding(fault["what"], fault["cure"], key, host, severity=severity)
        if cards:
            yield from _unknown(inventory, host, cards, [fault["card"] for fault in looks[host]["card_faults"]])


def _unknown(inventory: Inventory, host: str, cards: list[Look], faulty: list[str | None]) -> Iterator[Finding]:
    there = card_kinds.uuids(cards)
    # It may be the lost one, whose UUID the driver does not tell any more, or an instance that a reboot took.
    severity: Severity = "warning" if faulty else "error"
    whole = {card["uuid"] for card in cards if card.get("mig")}
    for key in LISTS:
        for uuid in inventory.hosts[host].get(key) or []:
            if uuid in whole and key == "gpu_shared":
                cure = "share instances of it, or end the mode (nvidia-smi -mig 0)"
                yield Finding(f"{uuid} is in MIG mode and cannot be shared as a whole", cure, key, host, HOSTS_FILE)
            elif uuid not in (*there, *faulty):
                what = f"{uuid} is no card of this host"
                yield Finding(what, f"it has {', '.join(there)}", key, host, HOSTS_FILE, severity)


def check_profile(
    inventory: Inventory, looks: Looks, place: str, profile: Mapping[str, t.Any], nodes: Iterable[str]
) -> Iterator[Finding]:
    """Yield a finding when a profile (its key is ``place``) asks for cards that none of the ``nodes`` has."""
    wanted, model, shared = profile.get("gpus", 0), profile.get("gpu_model", ""), profile.get("gpu_shared", False)
    if not wanted and not shared:
        return
    hosts = [(looks[host], kept_out(inventory.hosts[host])) for host in nodes]
    most = max((_shared if shared else _most)(look["cards"], kept, model) for look, kept in hosts)
    if most >= max(wanted, 1):
        return
    kind = f"{'shared ' * shared}card{'s' * (wanted > 1)}{f' of model {model}' * bool(model)}"
    have = sorted({name for look, kept in hosts for name in card_kinds.models(look["cards"], kept["exclude"])})
    # A lost card stops nobody else; notebooks of this profile wait until it is back.
    lost = any(look.get("card_faults") for look, _ in hosts)
    what = f"asks for {max(wanted, 1)} {kind}, and no node that it fits on has "
    what += f"more than {most} of one kind" if most else "one"
    cure = f"ask for less, or for another gpu_model (there are {', '.join(have) or 'none'})"
    key = "gpu_shared" if shared else "gpu_model" if model and not most else "gpus"
    yield Finding(what, cure, f"{place}.{key}", "", VARIABLES_FILE, severity="warning" if lost else "error")


def _most(cards: list[Look], kept: Mapping[str, list[str]], model: str) -> int:
    """Return how many cards of one kind (and of ``model``, unless empty) a notebook can get at most on a host."""
    pool, one_model = card_kinds.kinds(cards, **kept), card_kinds.labels(cards, **kept).get("gpu_model", "")
    return max((len(pool[kind]) for kind in card_kinds.kinds_of(model, pool, one_model)), default=0)


def _shared(cards: list[Look], kept: Mapping[str, list[str]], model: str) -> int:
    """Return how many cards (of ``model``, unless empty) a host has for profiles that share."""
    found = card_kinds.labels(cards, **kept)
    right = not model or found.get("gpu_model", "").casefold() == model.casefold()
    return len(found["gpu_shared"].split(",")) if right and "gpu_shared" in found else 0
