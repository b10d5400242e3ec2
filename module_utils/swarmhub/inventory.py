"""What is wrong with an inventory, told before any host is contacted: all findings at once.

Each rule is a function from an :class:`Inventory` to findings. Types and choices of single values are the business of
roles/inventory_check/meta/argument_specs.yml, entry point ``inventory``, which also has every default.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.module_utils.swarmhub import (
    address_plan,
    backup_findings,
    card_findings,
    homes,
    monitoring_findings,
    profiles,
    sign_in,
    skeleton,
    specs,
    tls,
    toolkit,
)
from ansible.module_utils.swarmhub.cluster import SINGLE_HOST_GROUPS, node_labels
from ansible.module_utils.swarmhub.findings import HOSTS_FILE, VARIABLES_FILE, Finding, nearest

Variables = Mapping[str, t.Any]

MEMBERS = ("managers", "cpu_workers", "gpu_workers")
GROUPS = (*MEMBERS, *SINGLE_HOST_GROUPS)
DATABASE_SCHEMES = ("postgresql+psycopg", "mysql+pymysql")
# RFC 5737: reserved for documentation, and so used in inventory/example.
EXAMPLE_NETWORK = address_plan.network("192.0.2.0/24")
#: What follows the last hyphen of a name; names are lower case.
SUFFIX = re.compile(r"[a-z0-9_.@]+")
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
PROBE_ACCOUNT = "swarmhub-probe"
#: The least values that can be used, in seconds, cards and bytes.
LEAST = {
    "hub_start_timeout": 10,
    "hub_queue_timeout": 10,
    "hub_queue_backfill": 0,
    "hub_user_gpu_limit": 0,
    "hub_user_gpu_hours": 0,
    "hub_active_server_limit": 0,
    "hub_pids_limit": 0,
    "swarm_network_mtu": 0,
}

#: How long notebooks may be idle, or run: 0 for ever, or so many seconds; they report what they do every few minutes.
LIFETIMES = ("hub_idle_timeout", "hub_gpu_idle_timeout", "hub_max_age", "hub_gpu_max_age")
LEAST_LIFETIME = 600
#: Numbers by the name of a hub's group, and of what.
GROUP_LIMITS = {"hub_group_gpu_limits": "cards", "hub_group_gpu_hours": "hours", "hub_group_server_limits": "notebooks"}

#: Bytes that every network must carry (RFC 8200, 5).
LEAST_MTU = 1280

#: Where a key without a value is taken for its default.
MAY_BE_UNSET = (
    "node_labels",
    "gpu_exclude",
    "gpu_shared",
    *LIFETIMES,
    "hub_user_gpu_limit",
    "hub_user_gpu_hours",
    "hub_active_server_limit",
    "hub_pids_limit",
    *GROUP_LIMITS,
    "hub_suffix_profiles",
    "hub_native",
    "hub_oauth",
    "hub_ldap",
    "hub_shared_folders",
    "swarm_network_encrypted",
    "swarm_network_mtu",
)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """An inventory as the rules see it.

    Attributes:
        groups: hosts by group, as Ansible's ``groups``.
        hosts: variables by host.
        settings: the cluster's own variables, with defaults for those that are missing or of a wrong type.
        known: names of all variables that the project has.
        judged: variables that are missing or mistyped, on which no rule has more to say.
    """

    groups: Mapping[str, list[str]]
    hosts: Mapping[str, Variables]
    settings: Variables
    known: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()

    def members(self) -> list[str]:
        """Return the hosts that are nodes of the swarm, each once."""
        return list(dict.fromkeys(host for group in MEMBERS for host in self.groups.get(group, [])))

    def labels(self, host: str) -> dict[str, str]:
        """Return the labels that the inventory gives to a node."""
        return node_labels([group for group, hosts in self.groups.items() if host in hosts], self.hosts[host])

    def address(self, host: str) -> str:
        """Return what Ansible connects to."""
        return str(self.hosts[host].get("ansible_host") or host)


def check_groups(inventory: Inventory) -> Iterator[Finding]:
    """Misspelt groups, hosts in none of ours, and groups with too many or too few hosts."""
    groups = inventory.groups
    ours = {host for group in GROUPS for host in groups.get(group, [])}
    for name, hosts in groups.items():
        meant = nearest(name.lower().replace("-", "_"), GROUPS, likeness=0.8)
        # A group of the user's own that only gathers hosts of ours (``workers``) is no mistake.
        if name not in GROUPS and meant and not set(hosts) <= ours:
            yield _hosts_finding("is not a group of this project", f"did you mean {meant}?", name, ", ".join(hosts))
    for host in groups.get("all", []):
        if host not in ours:
            yield _hosts_finding("is in none of our groups", f"put it under one of {', '.join(GROUPS)}", "groups", host)
    managers = len(groups.get("managers", []))
    if managers % 2 == 0:
        what = f"{managers} managers survive no more failures than {managers - 1}" if managers else "no manager"
        yield _hosts_finding(what, "use 1, 3 or 5", "managers")
    for group in SINGLE_HOST_GROUPS:
        if len(groups.get(group, [])) > 1:
            yield _hosts_finding("holds more than one host", "keep one", group, ", ".join(groups[group]))


def check_addresses(inventory: Inventory) -> Iterator[Finding]:
    """Two hosts at one address, addresses outside the cluster's networks, and the example left unedited."""
    by_place: dict[str, list[str]] = {}
    examples = []
    networks = address_plan.cluster(inventory.settings)
    for host, variables in inventory.hosts.items():
        place = f"{inventory.address(host)}:{variables.get('ansible_port') or 22}"
        by_place.setdefault(place, []).append(host)
        at = address_plan.address(inventory.address(host))
        node = variables.get("swarm_node_address")
        # With an address of its own for the swarm, a host may be reached by any other.
        for key, literal in (
            ("ansible_host", None if node else at),
            ("swarm_node_address", address_plan.address(node)),
        ):
            if literal and networks and not literal.is_loopback and not any(literal in net for net in networks):
                yield _hosts_finding(f"{literal} is outside cluster_cidrs", "add its network there", key, host)
        if node and not address_plan.address(node):
            yield _hosts_finding(f"{node!r} is not an address", "write an IP address", "swarm_node_address", host)
        if at and EXAMPLE_NETWORK and at in EXAMPLE_NETWORK:
            examples.append(host)
    for place, hosts in by_place.items():
        if len(hosts) > 1:
            cure = "give each host its own, or keep one of them"
            yield _hosts_finding(f"have one address, {place}", cure, "ansible_host", ", ".join(hosts))
    if examples:
        what = "addresses of 192.0.2.0/24 are for documentation only: this is the example, unedited"
        yield _hosts_finding(what, "write your own hosts' addresses", "ansible_host", ", ".join(examples))


def check_homes(inventory: Inventory) -> Iterator[Finding]:
    """Exactly one server of homes where the driver needs one."""
    own, existing = inventory.groups.get("nfs_server"), inventory.settings["nfs_host"]
    driver = inventory.settings["hub_homes_driver"]
    if driver in ("nfs3", "nfs4") and not own and not existing and "hub_homes_driver" not in inventory.judged:
        what = f"hub_homes_driver {driver} needs a server of homes and there is none"
        yield _finding(what, "put a host under nfs_server, name an existing one in nfs_host, or use bind", "nfs_host")
    if own and existing:
        yield _finding("is given, and so is the group nfs_server", "keep one of the two", "nfs_host")
    if own and driver == "bind":
        cure = "choose nfs4 or nfs3, or take the hosts out of the group"
        yield _finding(
            "bind mounts what the site provides, and the group nfs_server has a server", cure, "hub_homes_driver"
        )


def check_database(inventory: Inventory) -> Iterator[Finding]:
    """Exactly one database, and no password where it would be shown."""
    own, url = inventory.groups.get("postgres_server"), inventory.settings["hub_db_url"]
    key = "hub_db_url"
    if not own and not url:
        yield _finding("is empty and there is no postgres_server", "put a host under postgres_server, or set it", key)
    if own and url:
        yield _finding("is given, and so is the group postgres_server", "keep one of the two", key)
    if inventory.settings["hub_db_password"] and not url:
        cure = "drop it: the password of our own database is generated"
        yield _finding("belongs to hub_db_url, which is empty", cure, "hub_db_password")
    if not url:
        return
    parts = urlsplit(url)
    if parts.password:
        yield _finding("has a password in it", "move it to hub_db_password, in a vault", key)
    if parts.scheme not in DATABASE_SCHEMES:
        yield _finding(f"has the scheme {parts.scheme!r}", f"use one of {', '.join(DATABASE_SCHEMES)}", key)
    elif not parts.hostname or not parts.path.strip("/"):
        yield _finding("lacks a host or a database", f"write {parts.scheme}://user@host:port/database", key)
    else:
        try:
            _ = parts.port
        except ValueError as error:
            yield _finding(f"has a wrong port ({error})", "write a number up to 65535", key)


def check_limits(inventory: Inventory) -> Iterator[Finding]:
    """How long notebooks may live, and what groups may have."""
    settings = inventory.settings
    for key in LIFETIMES:
        seconds = settings[key] or 0
        if seconds < 0 or 0 < seconds < LEAST_LIFETIME:
            what = f"is {seconds}, and notebooks report what they do every few minutes"
            yield _finding(what, f"write 0 for ever, or {LEAST_LIFETIME} or more", key)
    for key, what in GROUP_LIMITS.items():
        for group, limit in settings[key].items():
            # Text of digits is what -e NAME=VALUE makes of a number.
            if isinstance(limit, bool) or not str(limit).isdecimal():
                yield _finding(f"the limit of group {group} is {limit!r}", f"write a number of {what}", key)


def check_settings(inventory: Inventory) -> Iterator[Finding]:
    """Single settings of the cluster whose mistakes a type does not show."""
    settings = inventory.settings
    if not CLUSTER_NAME.fullmatch(settings["cluster_name"]):
        cure = "use a-z, 0-9 and hyphens, 40 at most"
        yield _finding(f"{settings['cluster_name']!r} cannot be a label", cure, "cluster_name")
    if not settings["hub_admin_users"]:
        yield _finding("is empty: nobody could administer the hub", "name at least one", "hub_admin_users")
    if PROBE_ACCOUNT in settings["hub_admin_users"]:
        yield _finding(f"{PROBE_ACCOUNT} is the ordinary account that checks use", "remove it", "hub_admin_users")
    if not 1 <= settings["hub_port"] <= 65535:
        yield _finding(f"{settings['hub_port']} is not a port", "use 1 to 65535", "hub_port")
    if 0 < settings["swarm_network_mtu"] < LEAST_MTU:
        cure = f"write what the hosts' interfaces have (ip link), {LEAST_MTU} or more, or 0"
        yield _finding(f"{settings['swarm_network_mtu']} bytes are too few", cure, "swarm_network_mtu")
    for key, least in LEAST.items():
        if settings[key] < least:
            yield _finding(f"is {settings[key]}, which makes no sense", f"write {least} or more", key)
    unset = [name for name in ("hub_image", "hub_proxy_image", "hub_notebook_image") if not settings[name]]
    if unset and len(inventory.members()) > 1 and not inventory.groups.get("registry_server"):
        cure = "put a host under registry_server, or name ready images"
        yield _finding("is built here and must reach several nodes, without a registry", cure, ", ".join(unset))


def check_labels(inventory: Inventory) -> Iterator[Finding]:
    """Labels that swarm cannot hold, or that are not the user's to write."""
    taken = {"calculation_type": "set the variable calculation_type instead"}
    taken |= dict.fromkeys(profiles.DISCOVERED_LABELS, "drop it: it is discovered")
    for host, variables in inventory.hosts.items():
        kind = variables.get("calculation_type")
        if kind is not None and not LABEL.fullmatch(str(kind)):
            cure = "use letters, digits, and . _ - between them"
            yield _hosts_finding(f"{kind!r} cannot be a label", cure, "calculation_type", host)
        labels = variables.get("node_labels")
        for name, value in labels.items() if isinstance(labels, Mapping) else ():
            key = f"node_labels.{name}"
            if name in taken:
                yield _hosts_finding("is not yours to write", taken[name], key, host)
            elif not LABEL.fullmatch(str(name)):
                yield _hosts_finding("cannot be a label", "use letters, digits, and . _ - between them", key, host)
            elif not isinstance(value, str):
                yield _hosts_finding(f"{value!r} is not text", "put it in quotes", key, host)


def check_profiles(inventory: Inventory) -> Iterator[Finding]:
    """Profiles that are written badly, or that no node can ever run."""
    wanted = inventory.settings["hub_profiles"]
    if "hub_profiles" in inventory.judged:
        return
    if found := profiles.check_profiles(wanted):
        yield from found
        return
    gpu_workers = inventory.groups.get("gpu_workers", [])
    for index, profile in enumerate(wanted):
        place, gpus, constraints = f"hub_profiles[{index}]", profile.get("gpus"), profile.get("constraints", [])
        shared = profile.get("gpu_shared")
        if gpus and not gpu_workers:
            what = f"{profile['display_name']} asks for cards and there is no GPU worker"
            yield _finding(what, "put a host under gpu_workers, or drop gpus", f"{place}.gpus")
            continue
        sharing = [host for host in gpu_workers if inventory.hosts[host].get("gpu_shared")]
        if shared and not sharing:
            what = f"{profile['display_name']} asks for shared cards and no GPU worker has any"
            cure = "list cards in gpu_shared of a host, or drop it"
            yield _finding(what, cure, f"{place}.gpu_shared")
            continue
        nodes = sharing if shared else gpu_workers if gpus else inventory.members()
        if nodes and not any(profiles.node_matches(constraints, inventory.labels(host)) for host in nodes):
            which = "GPU worker with shared cards" if shared else "GPU worker" if gpus else "node"
            what = f"no {which} has {' and '.join(constraints)}, which {profile['display_name']} asks for"
            cure = "correct it, or set calculation_type or node_labels of a host"
            yield _finding(what, cure, f"{place}.constraints")


def check_suffixes(inventory: Inventory) -> Iterator[Finding]:
    """Suffixes that no name can have, those without a profile, and cards for whoever chooses a name."""
    found = {profiles.slug_of(each): each for each in inventory.settings["hub_profiles"] if isinstance(each, Mapping)}
    native = inventory.settings["hub_native"] or {}
    approved = inventory.settings["hub_authenticator"] == "native" and not boolean(native.get("open_signup") or False)
    for suffix, slug in inventory.settings["hub_suffix_profiles"].items():
        key = f"hub_suffix_profiles.{suffix}"
        if not SUFFIX.fullmatch(str(suffix)):
            cure = "use a-z, 0-9, '_' and '.', what follows a name's last hyphen"
            yield _finding("ends no name", cure, key)
        if slug not in found:
            yield _finding(f"there is no profile {slug!r}", f"write one of {', '.join(found)}", key)
        elif not approved and found[slug].get("groups") and (found[slug].get("gpus") or found[slug].get("gpu_shared")):
            cure = "let administrators approve native accounts (hub_native.open_signup: false), or drop the suffix"
            yield _finding(f"gives cards to whoever chooses a name with -{suffix}", cure, key)


def check_names(inventory: Inventory) -> Iterator[Finding]:
    """Variables of the inventory that are almost ours: they would be ignored without a word."""
    hosts_by_name: dict[str, list[str]] = {}
    for host, variables in inventory.hosts.items():
        for name in variables:
            if name not in inventory.known and not name.startswith("ansible_"):
                hosts_by_name.setdefault(name, []).append(host)
    for name, hosts in hosts_by_name.items():
        if meant := nearest(name, inventory.known):
            host = "" if len(hosts) == len(inventory.hosts) else ", ".join(hosts)
            file = HOSTS_FILE if host else VARIABLES_FILE
            yield Finding("is not a variable of this project", f"did you mean {meant}?", name, host, file)


RULES = (
    check_groups,
    check_addresses,
    check_homes,
    homes.check_options,
    homes.check_folders,
    homes.check_quota,
    check_database,
    backup_findings.check_settings,
    monitoring_findings.check_settings,
    check_settings,
    check_limits,
    sign_in.check_settings,
    tls.check_settings,
    check_labels,
    card_findings.check_lists,
    check_profiles,
    check_suffixes,
    skeleton.check_directory,
    toolkit.check_wanted,
    check_names,
)


def check_inventory(
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Variables],
    variables: Variables,
    options: specs.Options,
    known: Iterable[str] = (),
) -> list[Finding]:
    """Return all that the inventory alone can tell.

    Args:
        groups: hosts by group, as Ansible's ``groups``.
        hostvars: variables by host; of each only what is needed is read.
        variables: the variables that hold for the cluster.
        options: the specs of all that a user may write (roles/inventory_check, entry point ``inventory``).
        known: names of further variables that the project has.
    """
    hosts = {host: hostvars[host] for host in groups.get("all", [])}
    missing = [
        _finding("is missing", f"write it: {spec['description']}", name)
        for name, spec in options.items()
        if spec.get("required") and variables.get(name) is None
    ]
    unset = [
        _finding("has no value", "write one, or comment the key out for the default", name)
        for name, spec in options.items()
        if name not in MAY_BE_UNSET and not spec.get("required")
        # Of text that is empty by default no value is as good.
        if spec.get("type", "str") != "str" or spec.get("default")
        if any(name in each and each[name] is None for each in hosts.values())
    ]
    mistyped = list(specs.validate_options("inventory", options, hosts))
    settings = settings_of(variables, options)
    judged = frozenset(finding.key for finding in (*missing, *unset, *mistyped))
    inventory = Inventory(groups, hosts, settings, frozenset((*options, *known)), judged)
    plan = address_plan.check_networks(settings)
    return [*missing, *unset, *mistyped, *plan, *itertools.chain.from_iterable(rule(inventory) for rule in RULES)]


def check_limit(play_hosts: Iterable[str], groups: Mapping[str, list[str]]) -> list[Finding]:
    """Return a finding when ``--limit`` leaves no manager: the cluster's part would be dropped without a word."""
    managers = groups.get("managers", [])
    if not managers or set(play_hosts) & set(managers):
        return []
    cure = "to add nodes run playbooks/add_node.yml without --limit, else add a manager to the limit"
    return [Finding("leaves no manager, and without one nothing joins the cluster", cure, "--limit")]


def settings_of(variables: Variables, options: specs.Options) -> dict[str, t.Any]:
    """Return a value for every option: the given one where it is of the right type, else the default."""
    return {name: _usable(name, spec, variables.get(name)) for name, spec in options.items()}


def user_options(roles_dir: str | Path) -> specs.Options:
    """Return the specs of everything that a user may write."""
    return specs.read_options(Path(roles_dir) / "inventory_check", "inventory")


def cluster_variables(groups: Mapping[str, list[str]], hostvars: Mapping[str, Variables]) -> Variables:
    """Return the variables that hold for the cluster: those of its first manager, or of any host when there is none."""
    first = next(iter((*groups.get("managers", []), *groups.get("all", []))), None)
    return hostvars[first] if first else {}


def cluster_settings(
    groups: Mapping[str, list[str]], hostvars: Mapping[str, Variables], roles_dir: str | Path
) -> dict[str, t.Any]:
    """Return the cluster's variables, complete."""
    return settings_of(cluster_variables(groups, hostvars), user_options(roles_dir))


def check_everything(
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Variables],
    play_hosts: Iterable[str],
    roles_dir: str | Path,
) -> list[Finding]:
    """Return all that is wrong with the limit, the inventory, and what all roles' argument specs say of it.

    Each host's variables are taken from ``hostvars`` once: Ansible computes them anew at every look.
    """
    hosts = {host: hostvars[host] for host in groups.get("all", [])}
    own = user_options(roles_dir)
    known = [name for role in Path(roles_dir).iterdir() for name in specs.read_options(role)]
    return [
        *check_limit(play_hosts, groups),
        *check_inventory(groups, hosts, cluster_variables(groups, hosts), own, known),
        # What a user may write has been judged by now.
        *(finding for finding in specs.validate_specs(roles_dir, hosts) if finding.key not in own),
    ]


def _usable(name: str, spec: Mapping[str, t.Any], value: t.Any) -> t.Any:
    """Return a value of the wanted type, the default in place of a missing or mistyped one."""
    empty: dict[str, t.Any] = {"list": [], "dict": {}}
    default = spec.get("default", empty.get(spec.get("type", "str"), ""))
    if value is None or specs.errors_of(name, spec, value):
        return default
    convert = {"int": int, "bool": boolean}.get(spec.get("type", "str"))
    return convert(value) if convert else value


def _finding(what: str, cure: str, key: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)


def _hosts_finding(what: str, cure: str, key: str, host: str = "") -> Finding:
    return Finding(what, cure, key, host, HOSTS_FILE)
