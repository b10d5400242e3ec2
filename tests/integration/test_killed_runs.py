"""A run that is ended by SIGKILL at any moment is mended by the next one.

``make test`` runs the first moments, ``make test-long`` all of them.
"""

from __future__ import annotations

import random
import typing as t
from pathlib import Path

import pytest
from engines import Host, Hosts
from swarms import POOL, QUICK, join_options

MOMENTS = [pytest.param(number, marks=[pytest.mark.long] if number >= 2 else []) for number in range(7)]
STACK: dict[str, t.Any] = {
    "name": "web",
    "compose": {
        "services": {"one": {**QUICK, "secrets": ["token"], "networks": ["front"]}, "two": QUICK},
        "networks": {"front": {"ipam": {"config": [{"subnet": "10.77.0.0/24"}]}}},
        "secrets": {"token": {}},
    },
    "secrets": {"token": "a-password"},
}


def kill_and_run(host: Host, name: str, seconds: float, /, **arguments: t.Any) -> dict[str, t.Any]:
    """Kill a run within its first ``seconds``, then run again, twice; return the first result after the kill."""
    delay = random.uniform(0, seconds)
    print(f"{name} killed after {delay:.3f} s")
    host.killed_module(name, delay, **arguments)
    mended = host.module(name, **arguments)
    assert not mended.get("failed"), f"after a kill at {delay:.3f} s: {mended['msg']}"
    assert not host.module(name, **arguments)["changed"]
    return mended


@pytest.mark.parametrize("number", MOMENTS)
def test_init(hosts: Hosts, number: int) -> None:
    options = {"role": "manager", "advertise_addr": hosts.mgr1.address, **POOL}
    founded = kill_and_run(hosts.mgr1, "swarm_member", 0.8, **options)
    assert (founded["state"], founded["role"]) == ("active", "manager")
    assert hosts.mgr1.docker("network", "ls", "--quiet", "--filter", "name=ingress")
    hosts.mgr1.docker("swarm", "leave", "--force")


@pytest.mark.parametrize("number", MOMENTS)
def test_join(hosts: Hosts, first: dict[str, t.Any], number: int) -> None:
    joined = kill_and_run(hosts.mgr2, "swarm_member", 1.5, **join_options(hosts.mgr2, "worker", first))
    assert (joined["state"], joined["cluster_id"]) == ("active", first["cluster_id"])
    hosts.mgr2.docker("swarm", "leave")


@pytest.mark.parametrize("number", MOMENTS[:6])
def test_deploy(hosts: Hosts, first: dict[str, t.Any], empty_image: Path, number: int) -> None:
    for host in (hosts.mgr1, hosts.gpu1):
        host.docker("import", str(empty_image), "empty:1")
    deployed = kill_and_run(hosts.mgr1, "swarm_stack", 2, **STACK)
    counts = {item["name"]: (item["running"], item["wanted"]) for item in deployed["services"]}
    assert counts == {"web_one": (1, 1), "web_two": (1, 1)}
    assert len(hosts.mgr1.docker("secret", "ls", "--quiet").split()) == 1
    assert hosts.mgr1.settle("swarm_stack", name="web", state="absent")["changed"]
