"""What role hub_stack asks for, rendered by Ansible itself and read by module swarm_stack's own reader."""

from __future__ import annotations

import ipaddress
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.swarmhub.compose import Stack, read_stack
from ansible.module_utils.swarmhub.network import MTU_OPTION
from rendering import render

ROLE = Path(__file__).parents[2] / "roles" / "hub_stack"
GIVEN = {
    "hub_stack_images": {"hub": "hub:1", "proxy": "proxy:1", "notebook": "notebook:1"},
    "hub_stack_homes": {"driver": "bind", "path": "/homes"},
    "hub_stack_secrets": {
        "proxy_token": "s3cret",
        "admin_password": "s3cret-a",
        "ldap_search_password": "s3cret-l",
        "oauth_client_secret": "s3cret-o",
    },
    "hub_stack_entry_node": "node1",
}
HOSTS: dict[str, dict[str, t.Any]] = {
    "plain": {},
    "vip": {"hub_stack_network_mode": "vip"},
    "directory": {"hub_stack_sign_in": {"authenticator": "ldap", "ldap": {}}},
    "encrypted": {"hub_stack_encrypted": True, "hub_stack_mtu": 1450},
}


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stack]:
    """Return the stack for every host's variables."""
    shown = {"compose": "{{ hub_stack_compose }}", "secrets": "{{ hub_stack_secret_values }}"}
    inventory = {"all": {"hosts": HOSTS}}
    found = render(tmp_path_factory.mktemp("stack"), inventory, ["hub_stack"], shown, vars=GIVEN)
    return {
        name: read_stack(
            "swarmhub", each["compose"], each["secrets"], {"hub.json": "{}", "skeleton.json": "[]"}, "cluster"
        )
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


def test_a_b_what_the_proxy_falls_back_on_is_the_hub_where_it_listens(stacks: dict[str, Stack]) -> None:
    for stack in stacks.values():
        proxy, _ = services(stack)
        listens = "http://hub:8081"
        assert proxy["TaskTemplate"]["ContainerSpec"]["Args"] == [
            f"--error-target={listens}/hub/error",
            f"--default-target={listens}",
        ]
        assert (
            yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["hub_stack_settings"]["hub_connect_url"] == listens
        )


def test_d_neither_is_ever_given_up(stacks: dict[str, Stack]) -> None:
    for stack in stacks.values():
        for service in services(stack):
            policy = service["TaskTemplate"]["RestartPolicy"]
            assert (policy["Condition"], policy.get("MaxAttempts", 0)) == ("any", 0)


def test_e_the_proxys_api_is_on_a_network_without_notebooks(stacks: dict[str, Stack]) -> None:
    for stack in stacks.values():
        proxy, _ = services(stack)
        assert "API_CIDR=10.11.0.0/24" in proxy["TaskTemplate"]["ContainerSpec"]["Env"]
        assert stack.networks["swarmhub-api"].internal


def test_i_a_hundred_notebooks_have_addresses_in_either_mode(stacks: dict[str, Stack]) -> None:
    for stack in stacks.values():
        (subnet,) = stack.networks["swarmhub"].subnets
        assert ipaddress.ip_network(subnet).num_addresses >= 2 * 100 + 100


def test_g_h_no_secret_is_in_the_services(stacks: dict[str, Stack]) -> None:
    for stack in stacks.values():
        proxy, hub = services(stack)
        for service in (proxy, hub):
            container = service["TaskTemplate"]["ContainerSpec"]
            assert container["Secrets"]
            assert not any("s3cret" in text for text in (*container.get("Env", []), *container.get("Args", [])))


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


def test_the_hub_has_the_secrets_of_its_authenticator_and_of_no_other(stacks: dict[str, Stack]) -> None:
    for name, secrets in (("plain", ["admin_password"]), ("directory", ["ldap_search_password"])):
        given = services(stacks[name])[1]["TaskTemplate"]["ContainerSpec"]["Secrets"]
        assert sorted(each["File"]["Name"] for each in given) == sorted(["proxy_token", "registry_config", *secrets])
