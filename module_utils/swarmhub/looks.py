"""What is wrong with the hosts themselves, told from the look at them (host_state) before the first change."""

from __future__ import annotations

import ipaddress
import statistics
import typing as t
from collections import Counter
from collections.abc import Iterator, Mapping

from ansible.module_utils.swarmhub import address_plan, backup_findings, homes, profiles
from ansible.module_utils.swarmhub.card_findings import check_cards, check_profile
from ansible.module_utils.swarmhub.cluster import SERVER_GROUPS, address_within, offered_address
from ansible.module_utils.swarmhub.driver import cards_are_to_come, check_driver
from ansible.module_utils.swarmhub.findings import HOSTS_FILE, VARIABLES_FILE, Finding
from ansible.module_utils.swarmhub.inventory import Inventory, Variables
from ansible.module_utils.swarmhub.toolkit import check_installed
from ansible.module_utils.swarmhub.versions import Version, version

Look = Mapping[str, t.Any]
Looks = Mapping[str, Look]

TESTED = {("debian", "12"), ("debian", "13")}
WRITTEN_FOR = {("ubuntu", "22.04"), ("ubuntu", "24.04")}
# Older engines reject a task with a card on an overlay network (moby#44378).
OLDEST_ENGINE_FOR_CARDS = (25, 0, 3)
CLOCK_TOLERANCE = 30  # seconds; hosts are looked at one batch after the other
ETHERNET = 1500  # bytes; what the engine takes for the hosts' MTU, unless told
DOCKER_DIRECTORY = "/var/lib/docker"
LITTLE_DISK = 10 * 1024  # MiB
NO_DISK = 2 * 1024  # MiB


def check_distributions(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Distributions that this was not written for, and engines too old for cards or known to be troublesome."""
    for host, look in looks.items():
        here = (look["distribution"]["id"], look["distribution"]["version"])
        name = " ".join(here)
        if here in WRITTEN_FOR:
            yield Finding(f"{name} is not tested", "Debian 13 is", "distribution", host, severity="warning")
        elif here not in TESTED:
            cure = "use Debian 13 or 12, Ubuntu 22.04 or 24.04"
            yield Finding(f"{name or 'this system'} is not supported", cure, "distribution", host)
        elif here == ("debian", "12") and host in inventory.groups.get("gpu_workers", []):
            yield Finding("Debian 12's engine cannot give cards to notebooks", "use Debian 13", "distribution", host)
        yield from _engine(inventory, host, version((look.get("engine") or {}).get("version", "")))


def _engine(inventory: Inventory, host: str, engine: Version) -> Iterator[Finding]:
    text = ".".join(map(str, engine))
    if host in inventory.groups.get("gpu_workers", []) and engine and engine < OLDEST_ENGINE_FOR_CARDS:
        what = f"{text} rejects tasks with a card on an overlay network"
        yield Finding(what, "upgrade the engine to 25.0.3 or later", "engine", host)
    if engine[:2] == (28, 2) or (29, 0) <= engine[:2] <= (29, 7):
        cure = "28.3 to 28.5 is recommended"
        yield Finding(f"{text} has known faults in swarm", cure, "engine", host, severity="warning")


def check_engines(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Engines that run and do not answer, so that nobody knows what runs there, and those that may not get along."""
    versions = {text for look in looks.values() if (text := (look.get("engine") or {}).get("version"))}
    if inventory.settings["swarm_network_encrypted"] and len({version(text)[:1] for text in versions}) > 1:
        what = f"engines {', '.join(sorted(versions))} may not read each other's packets (mended in 25.0.15 and 29.2.1)"
        cure = "give all nodes one version, or try notebooks on each"
        yield Finding(what, cure, "swarm_network_encrypted", file=VARIABLES_FILE, severity="warning")
    for host, look in looks.items():
        if look.get("engine_fault"):
            what = f"docker.service is active and its engine does not answer ({look['engine_fault']})"
            cure = "look at journalctl -u docker on the host, or restart it when no notebook runs there"
            yield Finding(what, cure, "engine", host)


def check_addresses(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """One address of each host inside the cluster's networks; no network of the site where ours are to be."""
    networks = address_plan.cluster(inventory.settings)
    members = inventory.members()
    for host, look in looks.items():
        own = [ipaddress.ip_interface(text) for text in look["addresses"]]
        inside = sorted({str(each.ip) for each in own if any(each.ip in net for net in networks)})
        have = ", ".join(str(each.ip) for each in own) or "none"
        chosen = inventory.hosts[host].get("swarm_node_address")
        if chosen and chosen not in [str(each.ip) for each in own]:
            what = f"{chosen} is not an address of this host (it has {have})"
            yield Finding(what, "use one of them", "swarm_node_address", host, HOSTS_FILE)
        elif not chosen and not inside:
            what = f"holds no address of this host (it has {have})"
            yield Finding(what, "add the host's network", "cluster_cidrs", host, VARIABLES_FILE)
        elif not chosen and len(inside) > 1 and host in members:
            what = f"is needed: {', '.join(inside)} are all inside cluster_cidrs"
            yield Finding(what, "write the one for the swarm", "swarm_node_address", host, HOSTS_FILE)
    yield from _collisions(inventory, looks)


def _collisions(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    hosts_by_collision: dict[tuple[str, str, str], list[str]] = {}
    for host, look in looks.items():
        site = {ipaddress.ip_interface(text).network for text in look["addresses"]}
        site |= {net for text in look["routes"] if (net := address_plan.network(text)) is not None and net.prefixlen}
        for key, ours in address_plan.own(inventory.settings):
            for net in site:
                if ours.overlaps(net):
                    hosts_by_collision.setdefault((key, str(ours), str(net)), []).append(host)
    for (key, range_, other), hosts in hosts_by_collision.items():
        what = f"{range_} overlaps with the site's own network {other}, which these hosts know"
        yield Finding(what, "choose a range that the site does not use", key, ", ".join(hosts), VARIABLES_FILE)


def check_servers(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Servers that a run leaves out and whose address nothing tells."""
    for group in SERVER_GROUPS:
        for host in inventory.groups.get(group, []):
            if host not in looks and not offered_address(host, inventory.hosts, inventory.settings["cluster_cidrs"]):
                what = f"is the {group}, this run leaves it out, and the inventory does not tell its address"
                cure = "write that in cluster_cidrs, or do not leave the host out"
                yield Finding(what, cure, "swarm_node_address", host, HOSTS_FILE)


def check_kernels(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Nodes whose kernel lacks what the cluster's networks need."""
    needed = {
        "ip_vs": ("swarm_network_mode", "vip", "no IPVS (ip_vs)", "or choose dnsrr"),
        "esp4": ("swarm_network_encrypted", "true", "no IPsec (esp4)", "or leave the networks unencrypted"),
    }
    for host in inventory.members():
        for module, there in looks.get(host, {}).get("kernel_modules", {}).items():
            key, value, lacks, cure = needed[module]
            if not there:
                what = f"{value} needs a kernel that this host does not have: {looks[host]['kernel']} has {lacks}"
                yield Finding(what, f"give it a kernel that does, {cure}", key, host, VARIABLES_FILE)


def check_packets(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Nodes whose network carries smaller packets than the overlays send: those would be cut up, or lost."""
    wanted = inventory.settings["swarm_network_mtu"]
    found = {}
    for host in inventory.members():
        look = looks.get(host, {})
        node = inventory.hosts[host].get("swarm_node_address") or address_within(
            look.get("addresses", []), map(str, address_plan.cluster(inventory.settings))
        )
        mtus = {text.partition("/")[0]: mtu for text, mtu in look.get("mtus", {}).items()}
        if mtus.get(node, ETHERNET) < (wanted or ETHERNET):
            found[host] = (node, mtus[node])
    for host, (node, mtu) in found.items():
        what = f"the interface of {node} takes packets of {mtu} bytes, and the overlays are for {wanted or ETHERNET}"
        cure = f"write {min(least for _, least in found.values())}, the least of all nodes, or mend the interface"
        # The networks of a cluster stay what they were made as.
        member = looks[host]["swarm"]["state"] == "active"
        yield Finding(what, cure, "swarm_network_mtu", host, VARIABLES_FILE, "warning" if member else "error")


def check_basics(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Disk, clocks, and hosts that are one machine or copies of one."""
    # A new host is measured by those that are at work already.
    working = [look["time"] for look in looks.values() if look["swarm"]["state"] == "active"]
    clock = statistics.median_low(working or [look["time"] for look in looks.values()] or [0])
    by_machine: dict[str, list[str]] = {}
    for host, look in looks.items():
        by_machine.setdefault(look["machine_id"], []).append(host)
        free = look["disk"].get(DOCKER_DIRECTORY, {}).get("free_mb")
        if free is not None and free < LITTLE_DISK and host in inventory.members():
            severity: t.Literal["error", "warning"] = "error" if free < NO_DISK else "warning"
            what = f"{free / 1024:.1f} GB free, too little for images"
            yield Finding(what, "free 10 GB or more", DOCKER_DIRECTORY, host, severity=severity)
        if abs(look["time"] - clock) > CLOCK_TOLERANCE:
            what = f"is {look['time'] - clock:+.0f} s off the other hosts'"
            yield Finding(what, "set it (timedatectl); certificates and tokens depend on it", "clock", host)
    for machine, hosts in by_machine.items():
        if machine and len(hosts) > 1:
            cure = "name the machine once, or give each clone its own (systemd-machine-id-setup)"
            yield Finding("is the same on these hosts", cure, "/etc/machine-id", ", ".join(hosts))


def check_membership(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Hosts that belong to a swarm other than the managers', or that were removed from theirs while they were off."""
    managers = [host for host in inventory.groups.get("managers", []) if host in looks]
    swarms = {host: look["swarm"] for host, look in looks.items() if look["swarm"]["state"] not in ("", "inactive")}
    ids = Counter(swarms[host].get("cluster_id") for host in managers if host in swarms)
    ids.pop("", None)
    ours = ids.most_common(1)[0][0] if ids else None
    nodes = {node_id for host in managers for node_id in looks[host]["swarm"].get("nodes", {})}
    founded = any(host in swarms for host in managers)
    for host, swarm in swarms.items():
        theirs, command = swarm.get("cluster_id"), "docker swarm leave"
        # A worker may not know its cluster's id; that it is in one while no manager is says enough.
        if theirs and ours and theirs != ours:
            what = f"is in another swarm ({theirs}) than the managers ({ours})"
        elif managers and not founded and host not in managers:
            what = "is in a swarm already, and no manager of this inventory is in one"
        elif nodes and swarm.get("node_id") and swarm["node_id"] not in nodes:
            what, command = "was removed from the swarm while it was away", "docker swarm leave --force"
        else:
            continue
        yield Finding(what, f"take it out of that swarm first ({command})", "swarm", host)


def check_names(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Hosts that are to join under the host name of a node that the swarm has already."""
    nodes = {identity: node for look in looks.values() for identity, node in look["swarm"].get("nodes", {}).items()}
    for host in inventory.members():
        look = looks.get(host)
        if not look or look["swarm"]["state"] in ("active", "stopped"):
            continue
        own = look["swarm"].get("node_id")
        for node in [node for identity, node in nodes.items() if identity != own]:
            if node["hostname"] == look["hostname"]:
                what = f"{look['hostname']} is the host name of a node that is {node['state']}"
                cure = (
                    "if this host takes its place, its entry goes once it is Down; else give one of them another name"
                )
                yield Finding(what, cure, "swarm", host, severity="warning")


def check_sizes(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Profiles that ask for more than any node that they fit on has: cards of one kind, memory, cores."""
    wanted = inventory.settings["hub_profiles"]
    for index, profile in enumerate([] if profiles.check_profiles(wanted) else wanted):
        wants_cards = profile.get("gpus") or profile.get("gpu_shared")
        group = inventory.groups.get("gpu_workers", []) if wants_cards else inventory.members()
        constraints = profile.get("constraints", [])
        nodes = [host for host in group if profiles.node_matches(constraints, inventory.labels(host))]
        # A host that was not looked at may be the one that has it.
        if not nodes or any(host not in looks or cards_are_to_come(inventory, host, looks[host]) for host in nodes):
            continue
        override = profile.get("spawner_override", {})
        yield from check_profile(inventory, looks, f"hub_profiles[{index}]", profile, nodes)
        memory, cpus = (max(looks[host][key] for host in nodes) for key in ("memory_mb", "cpus"))
        limit, guarantee = (profiles.size_bytes(override.get(f"mem_{part}")) / 2**20 for part in ("limit", "guarantee"))
        asked: list[tuple[str, float, float, str, t.Literal["error", "warning"]]] = [
            ("spawner_override.mem_guarantee", guarantee, memory, "MB of memory", "error"),
            # A limit that no notebook can reach does no harm, and a machine sold with 32 GB shows a little less.
            ("spawner_override.mem_limit", limit, memory, "MB of memory", "warning"),
            # The engine refuses a container with a higher limit than it has cores.
            ("spawner_override.cpu_limit", override.get("cpu_limit") or 0, cpus, "cores", "error"),
            ("spawner_override.cpu_guarantee", override.get("cpu_guarantee") or 0, cpus, "cores", "error"),
        ]
        for key, amount, most, unit, severity in asked:
            if amount > most:
                what = f"asks for {amount:g} {unit}, and no node that it fits on has more than {most:g}"
                yield Finding(what, "ask for less", f"hub_profiles[{index}].{key}", "", VARIABLES_FILE, severity)


RULES = (
    check_membership,
    check_names,
    homes.check_hosts,
    check_distributions,
    check_engines,
    check_addresses,
    check_servers,
    check_kernels,
    check_packets,
    check_basics,
    check_driver,
    check_cards,
    check_installed,
    check_sizes,
    backup_findings.check_hosts,
)


def check_hosts(
    looks: Looks, groups: Mapping[str, list[str]], hostvars: Mapping[str, Variables], settings: Variables
) -> list[Finding]:
    """Return all that a look at the hosts tells.

    Args:
        looks: what host_state found, by host; hosts that did not answer are left out.
        groups: hosts by group, as Ansible's ``groups``.
        hostvars: variables by host.
        settings: the cluster's variables, complete (see inventory.cluster_settings).
    """
    inventory = Inventory(groups, {host: hostvars[host] for host in groups.get("all", [])}, settings)
    return [finding for rule in RULES for finding in rule(inventory, looks)]
