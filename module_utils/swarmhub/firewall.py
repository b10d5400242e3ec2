"""The firewall's rules, as iptables-restore(8) and ip6tables-restore(8) read them.

Chains of our own, in table filter. They refuse, or return to whoever called them, and never accept: what a site's own
rules refuse stays refused.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.address_plan import address, network

# Swarm's management, gossip and VXLAN, PostgreSQL, NFS with rpcbind and mountd, the registry.
CLUSTER_TCP = (2377, 7946, 5432, 2049, 111, 20048, 5000)
# Role exporters.
EXPORTERS_TCP = (9100, 9187)
CLUSTER_UDP = (7946, 4789, 2049, 111, 20048)
# From containers the engine's own API as well, and SSH.
ENGINE_TCP = (2375, 2376)
# So many ports one rule takes (iptables-extensions(8), multiport).
MULTIPORT = 15
# docker0 and docker_gwbridge; other bridges of an engine are known by the addresses that they are given.
ENGINE_BRIDGES = "docker+"
# The hub's way out: of all services it alone is on the engine's own network (role hub_stack).
HUB_BRIDGE = "docker0"

# What comes in for this host, what passes through it; hosts, and ports, that containers are kept off.
CHAINS = ("INPUT", "FORWARD", "HOSTS", "REFUSE")


def files(site: Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return both families' rules as the files of a role (differences.py); of ``site`` see restore_file."""
    return [
        {"path": f"/etc/swarmhub/firewall.v{family}", "mode": "0644", "content": restore_file(site, family)}
        for family in (4, 6)
    ]


def restore_file(site: Mapping[str, t.Any], family: int) -> str:
    """Return the rules for IPv4 (``family`` 4) or IPv6 (6).

    Args:
        site: ``cidrs``, which hold every host; ``containers``, whether containers run here, and if so ``pool``, out of
            which the engine's bridges take their networks, ``servers``, further hosts that they are kept off (names
            have no effect), ``ssh_ports``, ``database_port``, and whether the ``hub`` may run here, which alone
            reaches it; ``encrypted``, whether hosts talk ESP among themselves; ``exporters``, whether any listen;
            ``proxy_port``, at which the hub's proxy is published behind a front, 0 where people are to reach it.
        family: 4 or 6.
    """
    kept = (
        [
            "-A SWARMHUB-INPUT -i lo -j RETURN",
            "-A SWARMHUB-INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        ],
        _containers(site, family) if site["containers"] else [],
        _front(site, family) if site["containers"] and site["proxy_port"] else [],
        [f"-A SWARMHUB-INPUT -s {cidr} -j RETURN" for cidr in _networks(site["cidrs"], family)],
        [
            f"-A SWARMHUB-INPUT -p tcp -m multiport --dports {_ports(_inside(site))} -j DROP",
            f"-A SWARMHUB-INPUT -p udp -m multiport --dports {_ports(CLUSTER_UDP)} -j DROP",
        ],
        ["-A SWARMHUB-INPUT -p esp -j DROP"] if site["encrypted"] else [],
    )
    chains = [f":SWARMHUB-{name} - [0:0]" for name in CHAINS]
    return "\n".join(["*filter", *chains, *(rule for rules in kept for rule in rules), "COMMIT", ""])


def _containers(site: Mapping[str, t.Any], family: int) -> list[str]:
    """Keep containers off the ports of their own host (INPUT) and of all others (FORWARD)."""
    database = int(site["database_port"])
    sources = [f"-i {ENGINE_BRIDGES}"]
    sources += [f"-s {pool}" for pool in _networks([site["pool"]], family)]
    tcp = list(dict.fromkeys((*site["ssh_ports"], *ENGINE_TCP, *_cluster(site), database)))
    return [
        "-A SWARMHUB-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        *(
            f"-A SWARMHUB-{chain} -i {HUB_BRIDGE} -p tcp -m tcp --dport {database} -j RETURN"
            for chain in (("INPUT", "FORWARD") if site["hub"] else ())
        ),
        *(f"-A SWARMHUB-INPUT {source} -j SWARMHUB-REFUSE" for source in sources),
        *(f"-A SWARMHUB-FORWARD {source} -j SWARMHUB-HOSTS" for source in sources),
        *(
            f"-A SWARMHUB-HOSTS -d {place} -j SWARMHUB-REFUSE"
            for place in dict.fromkeys([*_networks(site["cidrs"], family), *_addresses(site["servers"], family)])
        ),
        # Refused, not dropped: whoever tries is told at once.
        *(
            f"-A SWARMHUB-REFUSE -p tcp -m multiport --dports {_ports(tcp[first : first + MULTIPORT])} "
            "-j REJECT --reject-with tcp-reset"
            for first in range(0, len(tcp), MULTIPORT)
        ),
        f"-A SWARMHUB-REFUSE -p udp -m multiport --dports {_ports(CLUSTER_UDP)} -j REJECT",
    ]


def _front(site: Mapping[str, t.Any], family: int) -> list[str]:
    """Keep what comes from outside the cluster off the published proxy, whose packets have another port by now."""
    inside = _networks([*site["cidrs"], site["pool"]], family)
    return [
        *(f"-A SWARMHUB-FORWARD -s {cidr} -j RETURN" for cidr in inside),
        f"-A SWARMHUB-FORWARD ! -i {ENGINE_BRIDGES} -o {ENGINE_BRIDGES} -p tcp "
        f"-m conntrack --ctorigdstport {site['proxy_port']} -j DROP",
    ]


def _inside(site: Mapping[str, t.Any]) -> list[int]:
    return [*_cluster(site), *([int(site["proxy_port"])] if site["proxy_port"] else [])]


def _cluster(site: Mapping[str, t.Any]) -> tuple[int, ...]:
    return (*CLUSTER_TCP, *(EXPORTERS_TCP if site["exporters"] else ()))


def _networks(texts: Iterable[str], family: int) -> list[str]:
    return [str(net) for text in texts if (net := network(text)) is not None and net.version == family]


def _addresses(texts: Iterable[str], family: int) -> list[str]:
    return [str(each) for text in texts if (each := address(text)) is not None and each.version == family]


def _ports(ports: Iterable[int]) -> str:
    return ",".join(map(str, ports))
