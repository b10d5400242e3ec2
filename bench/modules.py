"""What a call of our swarm modules costs when there is nothing to do, beside community.docker's nearest module.

Twenty real engines in namespaces of their own form one swarm. Every call is a new process on the host, as under
Ansible; the two modules of a row take turns, and the median counts. Run it with ``make bench-modules``, as root.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from engines import Host, Switch
from swarms import QUICK, join_options, wish, write_image

NODES = 20
ROUNDS = 21
COMMUNITY = "ansible_collections.community.docker.plugins.modules"
STACK: dict[str, t.Any] = {
    "version": "3.8",
    "services": {
        name: {**QUICK, "deploy": {"placement": {"constraints": ["node.role==manager"]}}} for name in ("one", "two")
    },
}

Call = tuple[str, dict[str, t.Any]]


def seconds(host: Host, call: Call) -> float:
    """Run a module that has nothing to do; return the time in seconds."""
    begin = time.monotonic()
    result = host.module(call[0], **call[1])
    took = time.monotonic() - begin
    assert not result.get("failed"), f"{call[0]}: {result['msg']}"
    assert not result["changed"], f"{call[0]} changed something: {result}"
    return took


def row(host: Host, title: str, ours: Call, other: Call) -> None:
    """Print the medians of two calls that take turns, and their ratio."""
    pairs = [(seconds(host, ours), seconds(host, other)) for _ in range(ROUNDS)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{title:<44}{first:8.2f} s{second:8.2f} s{first / second:8.2f}", flush=True)


def swarm_of(hosts: list[Host]) -> None:
    """Make one swarm of the hosts; the first is its manager."""
    founding = {"role": "manager", "advertise_addr": hosts[0].address, "return_tokens": True}
    first = hosts[0].module("swarm_member", **founding)
    with ThreadPoolExecutor(4) as pool:
        joined = pool.map(lambda host: host.module("swarm_member", **join_options(host, "worker", first)), hosts[1:])
        assert all(result["state"] == "active" for result in joined)


def compare(hosts: list[Host]) -> None:
    """Print the table."""
    manager = hosts[0]
    wishes = [wish(host, labels={"a": "b"}) for host in hosts]
    one, everyone = ("swarm_nodes", {"nodes": wishes[:1]}), ("swarm_nodes", {"nodes": wishes})
    network: Call = ("swarm_network", {"name": "net", "attachable": True})
    their_network: Call = (
        f"{COMMUNITY}.docker_network",
        {"name": "net", "driver": "overlay", "scope": "swarm", "attachable": True},
    )
    stack: Call = ("swarm_stack", {"name": "ours", "compose": STACK})
    their_stack: Call = (
        f"{COMMUNITY}.docker_stack",
        {"name": "theirs", "compose": [STACK], "resolve_image": "never"},
    )
    member: Call = ("swarm_member", {"role": "manager", "advertise_addr": manager.address})
    their_member: Call = (f"{COMMUNITY}.docker_swarm", {"state": "present", "advertise_addr": manager.address})
    their_node: Call = (f"{COMMUNITY}.docker_node", {"hostname": manager.name, "labels": {"a": "b"}})
    for name, arguments in (everyone, network, stack, their_stack):
        result = manager.module(name, **arguments)
        assert not result.get("failed"), result["msg"]

    print(f"{'nothing to do; medians of ' + str(ROUNDS):<44}{'ours':>10}{'nearest':>10}{'ratio':>8}")
    row(manager, "swarm_member, docker_swarm", member, their_member)
    row(manager, "swarm_nodes with 1 node, docker_node", one, their_node)
    row(manager, "swarm_network, docker_network", network, their_network)
    row(manager, "swarm_stack with 2 services, docker_stack", stack, their_stack)
    row(manager, f"swarm_nodes with {len(hosts)} nodes, with 1 node", everyone, one)


def main() -> None:
    """Start the engines, compare, and stop them."""
    os.environ["DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"] = "1"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        switch = stack.enter_context(Switch())
        hosts = [Host(f"node{number}", f"10.123.0.{number}", Path(folder), switch) for number in range(1, NODES + 1)]
        for host in hosts:
            stack.enter_context(host.running())
        write_image(Path(folder) / "empty.tar")
        hosts[0].docker("import", f"{folder}/empty.tar", "empty:1")
        swarm_of(hosts)
        compare(hosts)


if __name__ == "__main__":
    main()
