"""What is true of the cluster as a whole, computed from the inventory and the looks at its hosts."""

from __future__ import annotations

import hashlib
import ipaddress
import typing as t
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible.module_utils.swarmhub import address_plan, card_kinds
from ansible.module_utils.swarmhub.profiles import DISCOVERED_LABELS, node_matches

Facts = Mapping[str, t.Any]

#: Groups of hosts that serve all others.
SERVER_GROUPS = ("nfs_server", "postgres_server", "registry_server")
#: Those, and the host that asks all others how they are.
SINGLE_HOST_GROUPS = (*SERVER_GROUPS, "monitoring_server")


def address_within(addresses: Iterable[str], cidrs: Iterable[str]) -> str:
    """Return the one address (``10.0.0.5/24`` gives ``10.0.0.5``) that lies in ``cidrs``; empty for none or several."""
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]
    interfaces = [ipaddress.ip_interface(address) for address in addresses]
    inside = {str(each.ip) for each in interfaces if any(each.ip in network for network in networks)}
    return inside.pop() if len(inside) == 1 else ""


def offered_address(host: str, hostvars: Mapping[str, Facts], cidrs: Iterable[str]) -> str:
    """Return the address at which a host serves others; empty for no host, and where nothing tells it.

    The inventory says it, or the look found it; where a run leaves the host out (``--limit``, skip_unreachable), it is
    the one at which Ansible would reach it.
    """
    if not host:
        return ""
    variables = hostvars[host]
    seen = (variables.get("node_state") or {}).get("addresses", {})
    if known := variables.get("swarm_node_address") or address_within(seen, cidrs):
        return str(known)
    reached_at = address_plan.address(variables.get("ansible_host", host))
    return address_within([str(reached_at)], cidrs) if reached_at else ""


def named_addresses(hosts: Iterable[str], hostvars: Mapping[str, Facts], cidrs: Iterable[str]) -> list[dict[str, str]]:
    """Return ``{name, address}`` of each host, at the address that it offers, or where Ansible reaches it."""
    wanted = list(cidrs)
    return [
        {
            "name": host,
            "address": offered_address(host, hostvars, wanted) or str(hostvars[host].get("ansible_host", host)),
        }
        for host in hosts
    ]


def seed_manager(states: Mapping[str, Facts], managers: Iterable[str]) -> str:
    """Return the manager to talk to: the first active one, else one whose engine is stopped, else the first looked at.

    Empty for none.
    """
    seen = {host: states[host].get("swarm") or {} for host in managers if states.get(host)}
    best_first = sorted(
        seen, key=lambda host: (not seen[host].get("control_available"), seen[host].get("state") != "stopped")
    )
    return next(iter(best_first), "")


def peer_manager(states: Mapping[str, Facts], managers: Iterable[str], host: str) -> str:
    """Return the active manager through which a host's node is drained: another one, else the host itself."""
    active = [each for each in managers if (states.get(each, {}).get("swarm") or {}).get("control_available")]
    return next((each for each in active if each != host), host)


def majority_lost(managers: Iterable[str], unreachable: Iterable[str]) -> bool:
    """Tell whether the managers that answer are fewer than swarm's quorum (more than half)."""
    wanted = list(managers)
    answering = len(set(wanted) - set(unreachable))
    return 2 * answering <= len(wanted)


def unreachable_message(unreachable: Iterable[str], managers: Iterable[str], skip: bool, adding: bool = False) -> str:
    """Return why a run must stop because of hosts that do not answer; empty when it may go on.

    A run that is ``adding`` nodes talks to one manager only.
    """
    hosts = sorted(unreachable)
    if not hosts:
        return ""
    listed = ", ".join(hosts)
    if adding and set(managers) & set(hosts):
        return f"No answer from {listed}. Nothing was changed on any host. Name another manager with -e manager=."
    if majority_lost(managers, hosts):
        return f"No answer from {listed}: the managers that do answer are no majority. Nothing was changed."
    if skip:
        return ""
    return (
        f"No answer from {listed}. Nothing was changed on any host. Mend the connection "
        f"(ansible {hosts[0]} -b -m ping), or go on without them with -e skip_unreachable=true."
    )


def hub_cores(states: Mapping[str, Facts], managers: Iterable[str]) -> int:
    """Return the cores of the smallest manager, where the hub may come to run, those included that a run leaves out."""
    known = [state for host in managers if (state := states.get(host))]
    nodes = [node for state in known for node in state["swarm"].get("nodes", {}).values()]
    cores: list[int] = [state["cpus"] for state in known]
    cores += [node["cpus"] for node in nodes if node["role"] == "manager" and node["cpus"]]
    return min(cores)


def named(node: str | None) -> list[str]:
    """Return the hosts of ``-e node=gpu1,gpu2``.

    Raises:
        ValueError: nothing is named.
    """
    names = list(dict.fromkeys(name for part in (node or "").split(",") if (name := part.strip())))
    if not names:
        raise ValueError("say which node, as in -e node=gpu3: nothing was changed")
    return names


def scope(
    node: str | None, groups: Mapping[str, list[str]], manager: str = "", upgrading: bool = False
) -> dict[str, t.Any]:
    """Return whom a run of add_node contacts (``hosts``, a pattern): those that it may change, and the ``manager``.

    Args:
        node: hosts of the inventory, separated by commas.
        groups: hosts by group, as Ansible's ``groups``.
        manager: the manager to talk to, by default the first that is not one of those.
        upgrading: whether they are nodes already, managers and servers too.

    Returns:
        ``hosts``, ``changing`` (those of ``node``), ``workers`` (those of them that notebooks may run on), ``manager``.

    Raises:
        ValueError: nothing is named, or what cannot be added.
    """
    wanted = named(node)
    managers = groups.get("managers", [])
    workers = {host for group in ("cpu_workers", "gpu_workers") for host in groups.get(group, [])}
    servers = {host for group in SINGLE_HOST_GROUPS for host in groups.get(group, [])}
    for host in wanted:
        if host not in groups.get("all", []):
            raise ValueError(f"{host} is no host of the inventory: write it under cpu_workers or gpu_workers first")
        if upgrading and host not in workers.union(managers):
            raise ValueError(f"{host} is no node: what it serves is upgraded with its system")
        if not upgrading and (host not in workers.union(managers) or host in servers):
            raise ValueError(f"{host} is not a manager or worker and nothing else: servers are brought in by site.yml")
    others = [host for host in managers if host not in wanted]
    if not (others or upgrading):
        raise ValueError(f"no manager is left to bring in {', '.join(wanted)}: run site.yml")
    via = manager or (others or managers)[0]
    if via not in (others or managers):
        raise ValueError(f"{via} is no manager to talk to: -e manager= names one of {', '.join(others or managers)}")
    return {
        "hosts": ",".join(dict.fromkeys([*wanted, via])),
        "changing": wanted,
        "workers": [host for host in wanted if host in workers],
        "manager": via,
    }


def manager_addresses(states: Mapping[str, Facts], seed: str) -> list[str]:
    """Return where the managers are that answer, as the ``seed`` knows them; empty for a new cluster."""
    nodes = (states.get(seed, {}).get("swarm") or {}).get("nodes", {})
    return sorted(node["manager"] for node in nodes.values() if node["manager"])


def lacks(states: Mapping[str, Facts], seed: str, references: Mapping[str, str], settings: Facts) -> str:
    """Return what keeps nodes from being added to the cluster that ``seed`` manages; empty for nothing."""
    state = states.get(seed, {})
    if not (state.get("swarm") or {}).get("control_available"):
        who = seed or "The manager of this run"
        return f"{who} is no manager at work: name one that is with -e manager=, or run site.yml"
    missing = images_to_build(references, settings, (state.get("engine") or {}).get("images", []))
    return (
        f"{seed} has yet to build the images of this checkout ({', '.join(missing)}): run site.yml" if missing else ""
    )


def cannot_join(hosts: Iterable[str], hostvars: Mapping[str, Facts]) -> str:
    """Return why hosts could not join; empty when they can.

    Args:
        hosts: those of this run.
        hostvars: their variables; fact ``node_tried`` tells which managers' ports a new one could reach.
    """
    found = [
        f"{host} cannot reach {tried['item'][0]} at TCP port {tried['item'][1]}: open it between them"
        for host in hosts
        for tried in (hostvars[host].get("node_tried") or {}).get("results", [])
        if tried.get("msg")
    ]
    return f"{'; '.join(found)}. Nothing was changed on any host." if found else ""


def context_hash(directory: Path, arguments: Facts) -> str:
    """Return 12 hexadecimal digits that change with the build context's files or the build's arguments."""
    digest = hashlib.sha256()
    for path in sorted(entry for entry in directory.rglob("*") if entry.is_file() and "__pycache__" not in entry.parts):
        digest.update(f"{path.relative_to(directory)}\0".encode() + path.read_bytes() + b"\0")
    digest.update(repr(sorted(arguments.items())).encode())
    return digest.hexdigest()[:12]


def images(project: Path, registry: str, settings: Facts) -> dict[str, str]:
    """Return the reference of each of the cluster's images.

    A name that the user set is taken as it is; otherwise the image is built from ``images/<name>`` and its tag is the
    hash of all that goes into it, so that an image is built again exactly when its inputs changed.
    """
    prefix = f"{registry}/" if registry else ""
    return {
        name: settings.get(name)
        or f"{prefix}swarmhub/{name}:{context_hash(project / 'images' / name, {'base': settings.get('base', '')})}"
        for name in ("hub", "proxy", "notebook")
    }


def images_to_build(references: Mapping[str, str], settings: Facts, present: Iterable[str]) -> list[str]:
    """Return the names of the images that are ours to build and not ``present`` yet."""
    there = set(present)
    return [name for name, reference in references.items() if not settings.get(name) and reference not in there]


def images_to_push(
    references: Mapping[str, str], settings: Facts, asked: Iterable[str], present: Iterable[str]
) -> list[str]:
    """Return the references of images that are ours, asked for by hosts, and ``present`` on the builder.

    The registry may be new, or the builder was cut off after the build: its copy is handed over once more.
    """
    there = set(asked).intersection(present)
    return [references[name] for name in images_to_build(references, settings, []) if references[name] in there]


def node_labels(groups: Iterable[str], variables: Facts, cards: Iterable[Facts] = ()) -> dict[str, str]:
    """Return the labels of a node: ``calculation_type`` (by group unless set), its ``node_labels``, and its cards'.

    Args:
        groups: the host's groups.
        variables: the host's, ``gpu_exclude`` and ``gpu_shared`` among them.
        cards: all cards of the host, as the look found them.
    """
    mine = set(groups)
    kind = variables.get("calculation_type") or (
        "gpu" if "gpu_workers" in mine else "cpu" if "cpu_workers" in mine else ""
    )
    own = variables.get("node_labels")
    return {
        **({str(name): str(value) for name, value in own.items()} if isinstance(own, Mapping) else {}),
        **({"calculation_type": str(kind)} if kind else {}),
        **card_kinds.labels(cards, **kept_out(variables)),
    }


def kept_out(variables: Facts) -> dict[str, list[str]]:
    """Return what a host's variables keep out of the pool of cards, as card_kinds takes it."""
    return {key: list(map(str, variables.get(f"gpu_{key}") or [])) for key in ("exclude", "shared")}


def wanted_nodes(
    hosts: Iterable[str], hostvars: Mapping[str, Facts], given_back: Iterable[str] = ()
) -> list[dict[str, t.Any]]:
    """Return the nodes as module swarm_nodes takes them; hosts that were not looked at are left as they are.

    An engine whose restart waits still hands out the cards that it was started with, so what labels say of the cards
    stays as it is until then. That a card is never both somebody's own and shared does not hang on this: the hub shares
    no card that the engine still advertises.

    Args:
        given_back: hosts that are to take notebooks again, whoever drained them.
    """
    nodes = []
    for host in hosts:
        variables = hostvars[host]
        if not variables.get("node_state"):
            continue
        groups = variables["group_names"]
        cards = variables["node_state"].get("cards", []) if "gpu_workers" in groups else []
        pool = card_kinds.kinds(cards, **kept_out(variables))
        waits = variables.get("node_compared", {}).get("engine_waits")
        labels: dict[str, str | None] = {**dict.fromkeys(DISCOVERED_LABELS), **node_labels(groups, variables, cards)}
        node: dict[str, t.Any] = {
            "node_id": variables["swarm_node_id"],
            "name": host,
            "labels": {name: value for name, value in labels.items() if not waits or name not in DISCOVERED_LABELS},
            "role": "manager" if "managers" in groups else "worker",
            # What a killed run emptied for a restart is given back.
            "for_restart": "over",
        }
        if pool and not waits:
            node["generic_resources"] = pool
        if host in given_back:
            node["availability"] = "active"
        nodes.append(node)
    return nodes


def missing_images(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the references of which an engine, which lists ``present``, has no image."""
    there = set(present)
    return [reference for reference in wanted if listed_name(reference) not in there]


def outdated_images(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return what an engine, which lists ``present``, has under other tags of the repositories of ``wanted``."""
    names = {listed_name(reference) for reference in wanted}
    repositories = {name.rpartition("@" if "@" in name else ":")[0] for name in names}
    return sorted(
        name for name in present if "@" not in name and name not in names and name.rpartition(":")[0] in repositories
    )


def listed_name(reference: str) -> str:
    """Return an image's reference as the engine lists it.

    ``jupyter/lab`` is ``jupyter/lab:latest`` there, a digest makes the tag void, and Docker's own registry is not named
    (https://pkg.go.dev/github.com/distribution/reference).
    """
    name, _, digest = reference.partition("@")
    path, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    repository = f"{path}{slash}{last}".removeprefix("docker.io/").removeprefix("library/")
    return f"{repository}@{digest}" if digest else f"{repository}:{tag or 'latest'}"


def images_for(profiles: Iterable[Facts], labels: Mapping[str, str]) -> list[str]:
    """Return the images of the profiles that a node with these labels may run."""
    return sorted(
        {profile["spawner_override"]["image"] for profile in profiles if node_matches(profile["constraints"], labels)}
    )
