"""The networks of a site and of the cluster: written well, large enough, and apart from each other."""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Our own networks, with the longest prefix that still does (swarm cuts a /24 for each overlay).
LONGEST_PREFIX = {
    "swarm_address_pool": 22,
    "hub_network_cidr": 24,
    "hub_api_network_cidr": 28,
    "docker_engine_address_pool": 22,
}
# With mode vip a notebook takes two addresses, and each node one.
LONGEST_PREFIX_VIP = {**LONGEST_PREFIX, "hub_network_cidr": 23}


def address(text: t.Any) -> Address | None:
    """Return the address that ``text`` is, or ``None`` for a name."""
    try:
        return ipaddress.ip_address(str(text))
    except ValueError:
        return None


def network(text: t.Any) -> Network | None:
    """Return the network that ``text`` is, or ``None`` when it is none or has host bits set."""
    try:
        return ipaddress.ip_network(str(text))
    except ValueError:
        return None


def listed(settings: Mapping[str, t.Any], key: str) -> list[tuple[str, str]]:
    """Return ``(key, CIDR)`` of a setting that is one CIDR or a list of them."""
    value = settings.get(key)
    if isinstance(value, (list, tuple)):
        return [(f"{key}[{index}]", str(each)) for index, each in enumerate(value)]
    return [(key, str(value))] if value else []


def of(settings: Mapping[str, t.Any], keys: Iterable[str]) -> list[tuple[str, Network]]:
    """Return ``(key, network)`` of all that is well written under ``keys``."""
    parsed = [(place, network(text)) for key in keys for place, text in listed(settings, key)]
    return [(place, net) for place, net in parsed if net is not None]


def cluster(settings: Mapping[str, t.Any]) -> list[Network]:
    """Return the networks that hold every host."""
    return [net for _, net in of(settings, ["cluster_cidrs"])]


def own(settings: Mapping[str, t.Any]) -> list[tuple[str, Network]]:
    """Return ``(key, network)`` of what the cluster makes for itself."""
    return of(settings, LONGEST_PREFIX)


def check_networks(settings: Mapping[str, t.Any]) -> Iterator[Finding]:
    """Yield what is wrong with the networks as written."""
    for key in ("cluster_cidrs", *LONGEST_PREFIX):
        for place, text in listed(settings, key):
            if network(text) is None:
                yield _finding(place, f"{text!r} is not a network", _written(text))
    prefixes = LONGEST_PREFIX_VIP if settings.get("swarm_network_mode") == "vip" else LONGEST_PREFIX
    for place, net in own(settings):
        longest = prefixes[place.split("[", maxsplit=1)[0]]
        if net.prefixlen > longest:
            yield _finding(place, f"{net} is too small", f"give it a prefix of /{longest} or shorter")
    yield from _overlaps(of(settings, ["cluster_cidrs"]), own(settings))


def _overlaps(site: list[tuple[str, Network]], ours: list[tuple[str, Network]]) -> Iterator[Finding]:
    """The site's networks may overlap among themselves; ours may overlap with nothing."""
    for index, (place, net) in enumerate(ours):
        for other_place, other in [*site, *ours[:index]]:
            if net.overlaps(other):
                what = f"{net} overlaps with {other_place} {other}"
                yield _finding(place, what, "choose a range that nothing else uses")


def _written(text: str) -> str:
    try:
        return f"did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return "write it as address/prefix, such as 10.77.0.0/24"


def _finding(key: str, what: str, cure: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)
