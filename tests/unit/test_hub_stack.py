"""What role hub_stack asks for, rendered by Ansible itself and read by module swarm_stack's own reader."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.swarmhub.compose import Stack, read_stack
from ansible.module_utils.swarmhub.network import MTU_OPTION
from rendering import render

GIVEN = {
    "hub_stack_images": {"hub": "hub:1", "proxy": "proxy:1", "notebook": "notebook:1"},
    "hub_stack_homes": {"driver": "bind", "path": "/homes"},
    "hub_stack_secrets": {"proxy_token": "x"},
    "hub_stack_entry_node": "node1",
}
HOSTS: dict[str, dict[str, t.Any]] = {
    "plain": {},
    "vip": {"hub_stack_network_mode": "vip"},
    "encrypted": {"hub_stack_encrypted": True, "hub_stack_mtu": 1450},
}


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stack]:
    """Return the stack for every host's variables."""
    shown = {"compose": "{{ hub_stack_compose }}", "secrets": "{{ hub_stack_secret_values }}"}
    inventory = {"all": {"hosts": HOSTS}}
    found = render(tmp_path_factory.mktemp("stack"), inventory, ["hub_stack"], shown, vars=GIVEN)
    return {
        name: read_stack("swarmhub", each["compose"], each["secrets"], {"hub.json": "{}"}, "cluster")
        for name, each in found.items()
    }


def services(stack: Stack) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    return stack.services["swarmhub_proxy"], stack.services["swarmhub_hub"]


def test_the_proxy_is_published_on_one_manager_or_through_the_mesh(stacks: dict[str, Stack]) -> None:
    for name, mode, published, place in (
        ("plain", "dnsrr", "host", "node.id==node1"),
        ("vip", "vip", "ingress", "node.role==manager"),
    ):
        proxy, hub = services(stacks[name])
        assert (proxy["EndpointSpec"]["Mode"], hub["EndpointSpec"]["Mode"]) == (mode, mode)
        assert [port["PublishMode"] for port in proxy["EndpointSpec"]["Ports"]] == [published]
        assert proxy["TaskTemplate"]["Placement"]["Constraints"] == [place]
        assert hub["TaskTemplate"]["Placement"]["Constraints"] == ["node.role==manager"]
        for each in (proxy, hub):
            assert each["TaskTemplate"]["ContainerSpec"]["Sysctls"] == {"net.ipv4.tcp_keepalive_time": "600"}


def test_the_hub_alone_is_on_its_nodes_own_network(stacks: dict[str, Stack]) -> None:
    """The firewall lets that network alone reach the database."""
    for stack in stacks.values():
        for service, networks in zip(
            services(stack), (["swarmhub", "swarmhub-api"], ["swarmhub", "swarmhub-api", "bridge"]), strict=True
        ):
            assert [item["Target"] for item in service["TaskTemplate"]["Networks"]] == networks


def test_both_overlays_are_encrypted_and_made_for_the_sites_packets(stacks: dict[str, Stack]) -> None:
    for stack, options in (("plain", {}), ("encrypted", {"encrypted": "", MTU_OPTION: "1450"})):
        for name in ("swarmhub", "swarmhub-api"):
            overlay = stacks[stack].networks[name]
            assert overlay
            assert (overlay.driver, overlay.driver_opts) == ("overlay", options)
            assert "swarm_network_encrypted and swarm_network_mtu back" in overlay.cure
