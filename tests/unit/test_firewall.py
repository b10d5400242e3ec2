"""The firewall's rules as they are written; what they do is tried in tests/integration/test_firewall.py."""

from __future__ import annotations

import typing as t

from ansible.module_utils.swarmhub.firewall import restore_file

SITE: dict[str, t.Any] = {
    "cidrs": ["10.77.0.0/24", "fd00:77::/64"],
    "containers": True,
    "pool": "172.30.0.0/16",
    "servers": ["", "10.9.9.9", "nfs.example", "fd00::9"],
    "ssh_ports": [22],
    "database_port": 5432,
    "hub": True,
    "encrypted": False,
    "proxy_port": 0,
    "exporters": True,
}


def rules(family: int = 4, **changed: t.Any) -> list[str]:
    return restore_file({**SITE, **changed}, family).splitlines()


def test_the_file_is_one_table_and_flushes_no_chain_of_others() -> None:
    text = rules()
    assert (text[0], text[-1]) == ("*filter", "COMMIT")
    assert restore_file(SITE, 4).endswith("\n")
    assert {line.split("-A ")[-1].split()[0].lstrip(":") for line in text[1:-1]} == {
        "SWARMHUB-INPUT", "SWARMHUB-FORWARD", "SWARMHUB-HOSTS", "SWARMHUB-REFUSE",
    }  # fmt: skip


def test_each_family_has_its_own_addresses_and_names_have_none() -> None:
    guarded = [line.split()[3] for line in rules(4) if line.startswith("-A SWARMHUB-HOSTS")]
    assert guarded == ["10.77.0.0/24", "10.9.9.9"]
    guarded = [line.split()[3] for line in rules(6) if line.startswith("-A SWARMHUB-HOSTS")]
    assert guarded == ["fd00:77::/64", "fd00::9"]
    assert not [line for line in rules(6) if "172.30" in line or "10.77" in line]


def test_containers_are_refused_before_the_clusters_addresses_are_let_in() -> None:
    """A bridge of the engine may lie inside cluster_cidrs."""
    chain = [line for line in rules() if line.startswith("-A SWARMHUB-INPUT")]
    assert chain.index("-A SWARMHUB-INPUT -i docker+ -j SWARMHUB-REFUSE") < chain.index(
        "-A SWARMHUB-INPUT -s 10.77.0.0/24 -j RETURN"
    )


def test_a_database_elsewhere_is_kept_from_containers_by_its_own_port() -> None:
    text = rules(database_port=3306)
    refused = next(line for line in text if line.startswith("-A SWARMHUB-REFUSE -p tcp"))
    assert ",3306 " in refused
    assert "-A SWARMHUB-FORWARD -i docker0 -p tcp -m tcp --dport 3306 -j RETURN" in text


def test_each_port_of_ssh_is_refused_and_no_rule_names_more_ports_than_it_can() -> None:
    ports = range(2201, 2220)
    refused = [line for line in rules(ssh_ports=[22, *ports]) if line.startswith("-A SWARMHUB-REFUSE -p tcp")]
    named = [line.split("--dports ")[1].split()[0].split(",") for line in refused]
    assert max(map(len, named)) <= 15  # iptables-extensions(8), multiport
    assert {str(port) for port in (22, *ports)} < {port for some in named for port in some}


def test_where_no_containers_run_nothing_is_said_about_them() -> None:
    text = rules(containers=False)
    assert not [line for line in text if line.startswith(("-A SWARMHUB-FORWARD", "-A SWARMHUB-REFUSE"))]
    assert "-i docker+" not in "\n".join(text)
    assert "-A SWARMHUB-INPUT -p tcp -m multiport --dports 2377,7946,5432,2049,111,20048,5000,9100,9187 -j DROP" in text


def test_ipsec_is_kept_to_the_cluster_where_the_swarm_uses_it() -> None:
    assert rules(encrypted=True)[-2] == "-A SWARMHUB-INPUT -p esp -j DROP"
    assert not [line for line in rules() if "esp" in line]


def test_nothing_is_ever_accepted() -> None:
    assert not [line for family in (4, 6) for line in rules(family, encrypted=True) if "ACCEPT" in line]


def test_who_has_exporters_of_their_own_keeps_them_open() -> None:
    assert any(",9100,9187" in line for line in rules())
    assert not any("9100" in line for line in rules(exporters=False))


def test_the_proxy_behind_a_front_is_the_clusters_alone() -> None:
    dropped = "-A SWARMHUB-FORWARD ! -i docker+ -o docker+ -p tcp -m conntrack --ctorigdstport 8000 -j DROP"
    closed = rules(proxy_port=8000)
    assert closed.index("-A SWARMHUB-FORWARD -s 10.77.0.0/24 -j RETURN") < closed.index(dropped)
    assert any(line.startswith("-A SWARMHUB-INPUT") and line.endswith(",8000 -j DROP") for line in closed)
    assert not [line for line in rules() if "8000" in line]
