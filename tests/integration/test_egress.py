"""A service with a bridge of its own on each node: its way out, and everybody else's, on a real swarm."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import host_state
from engines import Host, Hosts
from swarms import QUICK, join_options

BRIDGE_NAME = "com.docker.network.bridge.name"
CONFIG = ("network", "create", "--config-only", f"--opt={BRIDGE_NAME}=swarmhub-egress", "out-config")
COMPOSE: dict[str, t.Any] = {
    "services": {
        "hub": {
            **QUICK,
            "networks": {"people": {"aliases": ["hub"]}, "out": None},
            "deploy": {"endpoint_mode": "dnsrr", "placement": {"constraints": ["node.role==manager"]}},
        },
        "notebook": {**QUICK, "networks": ["people"], "deploy": {"mode": "global", "endpoint_mode": "dnsrr"}},
    },
    "networks": {
        "people": {"name": "people", "ipam": {"config": [{"subnet": "10.79.0.0/24"}]}},
        "out": {"name": "swarmhub-egress", "driver": "bridge", "x-config-from": "out-config"},
    },
}
MOVED = copy.deepcopy(COMPOSE)
MOVED["services"]["hub"]["deploy"]["placement"]["constraints"] = ["node.hostname==mgr2"]
LOOK = """
import json, socket
routes = [line.split() for line in open("/proc/net/route").readlines()[1:]]
gateways = [socket.inet_ntoa(bytes.fromhex(route[2])[::-1]) for route in routes if route[1] == "00000000"]
try:
    hub = socket.gethostbyname("hub")
except OSError as error:
    hub = str(error)
print(json.dumps({"gateways": gateways, "hub": hub}))
"""


@pytest.fixture(scope="module")
def manager(hosts: Hosts, first: dict[str, t.Any], empty_image: Path) -> Host:
    """The manager, prepared as role swarm prepares it."""
    for host in (hosts.mgr1, hosts.gpu1):
        host.docker("import", str(empty_image), "empty:1")
    hosts.mgr1.docker(*CONFIG)
    return hosts.mgr1


def look(host: Host, service: str) -> dict[str, t.Any]:
    """Return the default route and the hub's address as a container of the service on that host sees them."""
    (container,) = host.docker("ps", "--quiet", f"--filter=label=com.docker.swarm.service.name=web_{service}").split()
    seen: dict[str, t.Any] = json.loads(host.docker("exec", container, "/usr/bin/python3", "-c", LOOK))
    return seen


def gateway(host: Host, network: str) -> str:
    return host.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", network)


def test_the_hub_leaves_through_its_own_bridge_and_nobody_else_does(hosts: Hosts, manager: Host) -> None:
    result = manager.settle("swarm_stack", name="web", compose=COMPOSE)
    wanted = {"swarmhub-egress": {"driver": "bridge", "config_from": "out-config"}}
    assert {name: result["diff"]["after"]["networks"][name] for name in wanted} == wanted

    hub = look(manager, "hub")
    assert hub["gateways"] == [gateway(manager, "swarmhub-egress")]
    for host in (manager, hosts.gpu1):
        notebook = look(host, "notebook")
        assert notebook["gateways"] == [gateway(host, "docker_gwbridge")]
        assert notebook["hub"].startswith("10.79.0."), "the hub is not found on the overlay"
    members = json.loads(manager.docker("network", "inspect", "--format", "{{json .Containers}}", "swarmhub-egress"))
    assert [member["Name"].split(".")[0] for member in members.values()] == ["web_hub"]


def test_a_look_tells_that_the_manager_is_prepared(
    hosts: Hosts, manager: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_state, "run", lambda *_: "active")
    for host, config in ((manager, {"out-config": {BRIDGE_NAME: "swarmhub-egress"}}), (hosts.gpu1, {})):
        monkeypatch.setattr(host_state, "ENGINE_SOCKET", host.docker_host.removeprefix("unix://"))
        found, fault = host_state.engine()
        assert found, fault
        assert found["config_networks"] == config


def test_it_follows_the_hub_to_a_manager_that_came_later(
    hosts: Hosts, manager: Host, first: dict[str, t.Any], empty_image: Path
) -> None:
    hosts.mgr2.docker(*CONFIG)
    hosts.mgr2.docker("import", str(empty_image), "empty:1")
    hosts.mgr2.settle("swarm_member", **join_options(hosts.mgr2, "manager", first))

    assert manager.settle("swarm_stack", name="web", compose=MOVED)["changed"]

    assert look(hosts.mgr2, "hub")["gateways"] == [gateway(hosts.mgr2, "swarmhub-egress")]
    assert look(hosts.gpu1, "notebook")["hub"] == look(hosts.mgr2, "hub")["hub"]


def test_a_restart_of_the_engine_leaves_it_as_it_is(hosts: Hosts, manager: Host) -> None:
    hosts.mgr2.stop()
    hosts.mgr2.start()
    assert not manager.module("swarm_stack", name="web", compose=MOVED)["changed"]
    assert look(hosts.mgr2, "hub")["gateways"] == [gateway(hosts.mgr2, "swarmhub-egress")]


def test_another_config_is_refused_with_the_cure(manager: Host) -> None:
    other = copy.deepcopy(MOVED)
    other["networks"]["out"] |= {"x-config-from": "elsewhere", "x-cure": "take the stack down first"}
    refusal = manager.refusal("swarm_stack", name="web", compose=other)
    assert "config_from is 'out-config', wanted 'elsewhere'" in refusal
    assert refusal.endswith("on it: service web_hub (tasks on mgr2); take the stack down first")
