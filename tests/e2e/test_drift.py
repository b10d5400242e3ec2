"""Whatever site.yml keeps on hosts and in the swarm is broken by hand; the next run names it and mends it, no more.

What there is to break is not listed here: bench/desired.py tells all that the roles want of the lab.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import desired
from bench.check import differing, look
from bench.first_run import REGISTRY

from .conftest import Lab, PlayResult, run_playbook

Json = dict[str, t.Any]
TIMEOUT = 600  # seconds
# What a run says that differs, host and name; but for what follows from it: what a service or systemd has read.
SAID = re.compile(r"- '?(\w+) — \w+: (?!\S+ runs with an older|systemd has not read)(\S+)")
# The first word of what a run says of live rules of the firewall, and of secrets that others may read.
FIREWALL, SECRETS = "the", "secrets"
SECRETS_PATH = "/etc/swarmhub/secrets/"


class Wanted(t.NamedTuple):
    """What the lab is to be: by host, in the swarm, and all that a look shows while it is so."""

    hosts: dict[str, Json]
    cluster: Json
    folder: Path
    right: Json


@pytest.fixture(scope="module")
def wanted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Wanted]:
    folder = desired.write(tmp_path_factory.mktemp("drift") / "desired")
    assert run_playbook("site.yml").code == 0
    hosts = {host: json.loads((folder / f"{host}.json").read_text()) for host in lab.variables}
    yield Wanted(hosts, json.loads((folder / "cluster.json").read_text()), folder, look(lab, folder))
    run_playbook("site.yml", timeout=TIMEOUT)


def said(result: PlayResult) -> set[tuple[str, str]]:
    """What a run says that differs: pairs of host and name."""
    return set(SAID.findall(result.output))


def files(state: Json) -> dict[str, str]:
    """How each file, directory and what must not be there is spoilt."""
    paths = [each["path"] for each in state["files"]]
    secrets = [path for path in paths if path.startswith(SECRETS_PATH)]
    return {
        **{path: f"echo '# by hand' >> {shlex.quote(path)}" for path in paths if path not in secrets},
        # A manager's copies are compared with the administrator's: one with another value is refused.
        **({SECRETS: f"chmod g+r {shlex.join(secrets)}"} if secrets else {}),
        # Who may read and write it does not harm the services, which run meanwhile.
        **{each["path"]: f"chmod o-rwx,g+w {shlex.quote(each['path'])}" for each in state["directories"]},
        **{path: f"install -D /dev/null {shlex.quote(path)}" for path in state["absent"]},
    }


def units(state: Json) -> dict[str, str]:
    """How each unit is stopped and taken from the next boot."""
    return {
        unit["name"]: f"systemctl disable --quiet --now {unit['name']} 2> /dev/null"
        for unit in state["units"]
        if unit["on"]
    }


def settings(state: Json) -> dict[str, str]:
    """How kernel parameters, holds and live rules are changed."""
    return {
        **{name: f"sysctl --quiet -w {name}=7201" for name in state["sysctls"]},
        **{name: f"apt-mark unhold --quiet=2 {name}" for name in state["held"]},
        **({FIREWALL: "iptables -I SWARMHUB-INPUT -p tcp --dport 9 -j ACCEPT"} if state["firewall"] else {}),
    }


def break_hosts(lab: Lab, wanted: Wanted, *kinds: t.Callable[[Json], dict[str, str]]) -> set[tuple[str, str]]:
    """Break all things of these kinds on all hosts at once; return them."""
    scripts = {
        host: {name: script for kind in kinds for name, script in kind(state).items()}
        for host, state in wanted.hosts.items()
    }
    with ThreadPoolExecutor(len(scripts)) as pool:
        list(pool.map(lambda host: lab.ssh(host, "\n".join(scripts[host].values()), timeout=120), scripts))
    return {(host, name) for host, broken in scripts.items() for name in broken}


def mended(lab: Lab, wanted: Wanted) -> None:
    """Let a run mend all; nothing may be left otherwise, and another run finds nothing."""
    result = run_playbook("site.yml", timeout=TIMEOUT)
    assert result.code == 0, result.output
    assert not (left := differing(wanted.right, look(lab, wanted.folder))), left
    again = run_playbook("site.yml")
    assert not any(again.changed.values()), again.output


def test_all_files_and_settings_of_all_hosts(lab: Lab, wanted: Wanted) -> None:
    broken = break_hosts(lab, wanted, files, settings)
    predicted = said(run_playbook("site.yml", "--check"))
    mended(lab, wanted)
    assert predicted == broken, predicted ^ broken
    print(f"{len(broken)} things of {len(wanted.hosts)} hosts were broken, named one by one, and mended")


def test_all_units_of_all_hosts(lab: Lab, wanted: Wanted) -> None:
    broken = break_hosts(lab, wanted, units)
    assert len(broken) > len(wanted.hosts)
    mended(lab, wanted)
    print(f"{len(broken)} units were stopped and disabled, and mended")


def test_an_image_that_registry_and_worker_have_lost(lab: Lab, wanted: Wanted) -> None:
    (image,) = wanted.hosts["cpu1"]["images"]
    repository = image.partition("/")[2].rpartition(":")[0]
    lab.docker("image", "rm", "--force", image, host="cpu1")
    lab.ssh(
        lab.manager, f"rm -r {REGISTRY}/docker/registry/v2/repositories/{repository}; systemctl restart docker-registry"
    )
    mended(lab, wanted)


@pytest.mark.long
def test_the_engine_of_the_only_manager(lab: Lab, wanted: Wanted) -> None:
    lab.ssh(lab.manager, "systemctl stop docker.socket docker.service", timeout=120)
    mended(lab, wanted)


def test_all_of_the_swarm(lab: Lab, wanted: Wanted) -> None:
    cluster = wanted.cluster
    for node in cluster["nodes"]:
        labels = [f"--label-rm={name}" for name in node["labels"]]
        lab.docker("node", "update", *labels, node["id"])
    lab.docker("service", "rm", *(each["Name"] for each in cluster["services"]))
    names = {
        kind: [each["name"] for each in cluster["contents"] if each["kind"] == kind] for kind in ("secret", "config")
    }
    for kind, each in names.items():
        lab.docker(kind, "rm", *each)
    networks = [each["name"] for each in cluster["networks"]]
    # Tasks that end hold on to it for a moment.
    lab.ssh(
        lab.manager, f"timeout 60 sh -c 'until docker network rm {shlex.join(networks)}; do sleep 1; done'", timeout=90
    )
    mended(lab, wanted)


@pytest.mark.long
@pytest.mark.parametrize("host", ["cpu1", "gpu1", "mgr1"])
def test_all_packages_of_a_host(lab: Lab, wanted: Wanted, host: str) -> None:
    names = [name.partition("=")[0] for name in wanted.hosts[host]["packages"]]
    remove = "DEBIAN_FRONTEND=noninteractive apt-get remove --quiet=2 --yes --allow-change-held-packages"
    lab.ssh(host, f"{remove} {shlex.join(names)}", timeout=300)
    mended(lab, wanted)
