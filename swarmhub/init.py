"""Writes a first inventory from inventory/example, with the hosts that somebody has."""

from __future__ import annotations

import dataclasses
import ipaddress
import shutil
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from swarmhub.errors import Refused
from swarmhub.hosts_file import load, one_line, save

Host = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is asked.

    Attributes:
        user: the account on the hosts that may become root.
        managers, cpu_workers, gpu_workers: hosts as pairs of name and address.
        storage: a host for homes, database, registry and monitoring; empty for the first manager.
        cidrs: networks that hold every host; empty for the smallest /24s (IPv6: /64s) of the addresses.
    """

    user: str
    managers: Sequence[Host]
    cpu_workers: Sequence[Host] = ()
    gpu_workers: Sequence[Host] = ()
    storage: Sequence[Host] = ()
    cidrs: Sequence[str] = ()


def hosts(text: str, prefix: str) -> list[Host]:
    """Return the hosts of ``name=address`` or plain addresses, comma separated; the latter are named by ``prefix``.

    Raises:
        Refused: one is no address.
    """
    found = []
    for number, each in enumerate((part.strip() for part in text.split(",") if part.strip()), start=1):
        name, equals, address = each.rpartition("=")
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise Refused(
                f"{address} is not an address: write 192.0.2.11, or NAME=192.0.2.11, separated by commas"
            ) from error
        found.append((name if equals else f"{prefix}{number}", address))
    return found


def write(example: Path, target: Path, answers: Answers) -> list[Path]:
    """Write the inventory into ``target``; return the files.

    Raises:
        Refused: there is one already.
    """
    if (target / "hosts.yml").exists():
        raise Refused(f"{target / 'hosts.yml'} is there already: edit it, or give another --inventory")
    groups = _groups(answers)
    shutil.copytree(example, target, dirs_exist_ok=True)
    hosts_file, variables_file = target / "hosts.yml", target / "group_vars" / "all.yml"
    content = load(hosts_file)
    content["all"]["vars"]["ansible_user"] = answers.user
    children = content["all"]["children"]
    for group in list(children):
        if not groups.get(group):
            del children[group]
            continue
        children[group]["hosts"] = CommentedMap(
            (name, one_line(ansible_host=address) if address else None) for name, address in groups[group]
        )
    save(hosts_file, content)
    variables = load(variables_file)
    cidrs = variables["cluster_cidrs"]
    cidrs[:] = answers.cidrs or _networks([address for each in groups.values() for _, address in each if address])
    profiles = variables["hub_profiles"]
    wanted = [each for each in profiles if bool(each.get("gpus")) is False or answers.gpu_workers]
    if not answers.cpu_workers:
        wanted = [each for each in wanted if each.get("gpus")] or wanted
    for each in [each for each in profiles if each not in wanted]:
        profiles.remove(each)
    save(variables_file, variables)
    return [hosts_file, variables_file]


def _groups(answers: Answers) -> dict[str, list[Host]]:
    """The hosts by group; an address stands where a host is named first."""
    if not answers.managers:
        raise Refused("a cluster needs a manager: give --managers")
    if not answers.cpu_workers and not answers.gpu_workers:
        raise Refused("notebooks need a node: give --cpu-workers or --gpu-workers; a manager may be one, too")
    storage = list(answers.storage or answers.managers[:1])
    groups = {
        "managers": list(answers.managers),
        "cpu_workers": list(answers.cpu_workers),
        "gpu_workers": list(answers.gpu_workers),
        **dict.fromkeys(("nfs_server", "postgres_server", "registry_server", "monitoring_server"), storage),
    }
    names: dict[str, str] = {}
    by_address: dict[str, str] = {}
    result: dict[str, list[Host]] = {}
    for group, members in groups.items():
        result[group] = []
        for given, address in members:
            # The same machine in two groups is one host, under its first name.
            name = by_address.setdefault(address, given)
            if names.setdefault(name, address) != address:
                raise Refused(f"{name} has two addresses, {names[name]} and {address}")
            first = all(name != known for each in result.values() for known, _ in each)
            result[group].append((name, address if first else ""))
    return result


def _networks(addresses: Sequence[str]) -> list[str]:
    parsed = [ipaddress.ip_address(address) for address in addresses]
    own = {str(ipaddress.ip_network(f"{each}/{24 if each.version == 4 else 64}", strict=False)) for each in parsed}
    return sorted(own)
