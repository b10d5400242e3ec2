"""Writes a first inventory from inventory/example, with the hosts that somebody has."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from swarmhub.errors import Refused
from swarmhub.hosts_file import require_name

Host = tuple[str, str]
#: A group of inventory/example/hosts.yml: the comments before it, its name, its hosts.
GROUP = re.compile(r"((?:^    #.*\n)*)^    (\w+):\n      hosts:\n((?: {8,}.*\n)+)\n?", re.MULTILINE)


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
        Refused: one is no address, or its name none.
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
        if equals:
            require_name(name)
        found.append((name if equals else f"{prefix}{number}", address))
    return found


def require_new(example: Path, target: Path) -> None:
    """Raise Refused where ``target`` has a file of the example already, or is named as a file."""
    if target.suffix in (".yml", ".yaml", ".ini"):
        raise Refused(f"{target}: give a folder as --inventory, into which hosts.yml and group_vars are written")
    for path in (path.relative_to(example) for path in example.rglob("*") if path.is_file()):
        if (target / path).exists():
            raise Refused(f"{target / path} is there already: edit it, or give another --inventory")


def write(example: Path, target: Path, answers: Answers) -> list[Path]:
    """Write the inventory into ``target``, where there is none; return the files.

    Raises:
        Refused: the answers make no cluster.
    """
    groups = _groups(answers)
    shutil.copytree(example, target, dirs_exist_ok=True)
    hosts_file, variables_file = target / "hosts.yml", target / "group_vars" / "all.yml"
    hosts_file.write_text(_hosts_text(hosts_file.read_text(encoding="utf-8"), answers.user, groups), encoding="utf-8")
    cidrs = answers.cidrs or _networks([address for each in groups.values() for _, address in each if address])
    text = variables_file.read_text(encoding="utf-8")
    text = re.sub(r"^cluster_cidrs: .*", f"cluster_cidrs: [{', '.join(cidrs)}]", text, flags=re.MULTILINE)
    variables_file.write_text(_profiles_text(text, answers), encoding="utf-8")
    return [hosts_file, variables_file]


def _hosts_text(text: str, user: str, groups: dict[str, list[Host]]) -> str:
    """Return the example with other hosts, and without the groups that have none.

    It is our own file, whose form we know; its comments stay where a YAML library would move some of them.
    """

    def block(found: re.Match[str]) -> str:
        comments, name, old = found.groups()
        # What may be written of a host stands below its group's last one.
        hints = [line for line in old.splitlines() if line.startswith("          #")]
        lines = [
            f"        {host}:{f' {{ansible_host: {address}}}' if address else ''}" for host, address in groups[name]
        ]
        if not lines:
            return ""
        if hints:
            lines[-1] = lines[-1].replace(" {ansible_host: ", "\n          ansible_host: ").rstrip("}")
        return f"{comments}    {name}:\n      hosts:\n" + "\n".join([*lines, *hints]) + "\n\n"

    text = re.sub(r"(?m)^(    ansible_user: ).*", lambda found: f"{found[1]}{user}", text)
    return GROUP.sub(block, text).rstrip("\n") + "\n"


def _profiles_text(text: str, answers: Answers) -> str:
    """Return the variables without the example's profiles that no node of ours would meet."""
    head, begin, rest = text.partition("hub_profiles:\n")
    block, end, tail = rest.partition("\n\n")
    profiles = re.split(r"(?m)^(?=  - )", block)[1:]
    wanted = [each for each in profiles if (answers.gpu_workers if "gpus:" in each else answers.cpu_workers)]
    return head + begin + "".join(wanted).rstrip("\n") + end + tail


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
