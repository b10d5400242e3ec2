"""The rules on an inventory: each one against an inventory that is right but for one thing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.swarmhub.findings import Finding, render_findings, report
from ansible.module_utils.swarmhub.inventory import (
    MAY_BE_UNSET,
    check_everything,
    check_inventory,
    check_limit,
    cluster_variables,
    user_options,
)
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).parents[2]
OPTIONS = user_options(ROOT / "roles")
LAB = {
    "managers": ["mgr1"],
    "cpu_workers": ["cpu1"],
    "gpu_workers": ["gpu1", "gpu2"],
    "postgres_server": ["mgr1"],
    "registry_server": ["mgr1"],
}
SINGLE = {"managers": ["one"], "gpu_workers": ["one"], "postgres_server": ["one"]}
VARIABLES = {
    "cluster_cidrs": ["10.77.0.0/24"],
    "hub_homes_driver": "bind",
    "hub_profiles": [
        {"display_name": "CPU", "constraints": ["node.labels.calculation_type==cpu"]},
        {"display_name": "GPU", "gpus": 1, "constraints": ["node.labels.calculation_type==gpu"]},
    ],
}


def findings(
    groups: dict[str, list[str]] | None = None,
    hosts: dict[str, dict[str, Any]] | None = None,
    shape: dict[str, list[str]] = LAB,
    **variables: Any,
) -> list[Finding]:
    """Check the lab's shape with these groups, host variables and cluster variables in place of its own."""
    wanted = {**shape, **(groups or {})}
    names = list(dict.fromkeys(host for members in wanted.values() for host in members))
    shared = {name: value for name, value in {**copy.deepcopy(VARIABLES), **variables}.items() if value is not ...}
    hostvars = {
        host: {**shared, "ansible_host": f"10.77.0.{number}", **(hosts or {}).get(host, {})}
        for number, host in enumerate(names, start=11)
    }
    wanted["all"] = names
    return check_inventory(wanted, hostvars, cluster_variables(wanted, hostvars), OPTIONS, ["docker_engine_auths"])


def only(found: list[Finding]) -> Finding:
    """Return the one finding that there must be."""
    assert len(found) == 1, render_findings(found)
    return found[0]


def test_the_lab_is_right() -> None:
    assert findings() == []


def test_one_machine_alone_is_right() -> None:
    kind = {"display_name": "CPU", "constraints": ["node.labels.calculation_type==gpu"]}
    assert findings(shape=SINGLE, hub_profiles=[kind, VARIABLES["hub_profiles"][1]]) == []


def test_groups_of_the_users_own_are_right() -> None:
    assert findings({"workers": ["cpu1", "gpu1", "gpu2"], "rack_a": ["mgr1"]}) == []


@pytest.mark.parametrize(("group", "meant"), [("gpu_worker", "gpu_workers"), ("CPU-workers", "cpu_workers")])
def test_a_misspelt_group(group: str, meant: str) -> None:
    found = [finding for finding in findings({group: ["new1"]}) if finding.key == group]
    assert only(found).cure == f"did you mean {meant}?"


def test_a_host_in_none_of_our_groups() -> None:
    assert only(findings({"ungrouped": ["spare"]})).host == "spare"


@pytest.mark.parametrize("managers", [[], ["mgr1", "mgr2"]])
def test_managers_must_be_odd(managers: list[str]) -> None:
    assert only(findings({"managers": managers})).key == "managers"


@pytest.mark.parametrize("group", ["nfs_server", "postgres_server", "registry_server", "monitoring_server"])
def test_one_host_each(group: str) -> None:
    driver = "nfs4" if group == "nfs_server" else "bind"
    assert only(findings({group: ["mgr1", "cpu1"]}, hub_homes_driver=driver)).key == group


def test_a_server_of_homes_that_nobody_mounts_is_refused() -> None:
    assert only(findings({"nfs_server": ["mgr1"]}, hub_homes_driver="bind")).key == "hub_homes_driver"


def test_two_hosts_with_one_address() -> None:
    finding = only(findings(hosts={"gpu2": {"ansible_host": "10.77.0.11"}}))
    assert (finding.host, finding.key) == ("mgr1, gpu2", "ansible_host")


def test_one_address_with_two_ports_is_right() -> None:
    assert findings(hosts={"gpu2": {"ansible_host": "10.77.0.11", "ansible_port": 2222}}) == []


def test_a_host_outside_the_clusters_networks() -> None:
    assert only(findings(hosts={"cpu1": {"ansible_host": "10.78.0.12"}})).host == "cpu1"
    inside = {"ansible_host": "10.78.0.12", "swarm_node_address": "10.77.0.12"}
    assert findings(hosts={"cpu1": inside}) == []


@pytest.mark.parametrize("address", ["10.78.0.12", "cpu1.example.org"])
def test_a_wrong_address_for_the_swarm(address: str) -> None:
    assert only(findings(hosts={"cpu1": {"swarm_node_address": address}})).key == "swarm_node_address"


@pytest.mark.parametrize("driver", ["nfs3", "nfs4"])
def test_nfs_needs_exactly_one_server(driver: str) -> None:
    assert only(findings(hub_homes_driver=driver)).key == "nfs_host"
    assert findings(hub_homes_driver=driver, nfs_host="store") == []
    assert findings({"nfs_server": ["mgr1"]}, hub_homes_driver=driver) == []
    assert only(findings({"nfs_server": ["mgr1"]}, hub_homes_driver=driver, nfs_host="store")).key == "nfs_host"


URL = "postgresql+psycopg://hub@db.example.org:5432/hub"


@pytest.mark.parametrize("url", [URL, "mysql+pymysql://hub@db/hub"])
def test_an_existing_database_is_right(url: str) -> None:
    assert findings({"postgres_server": []}, hub_db_url=url, hub_db_password="x") == []


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "no postgres_server"),
        (URL.replace("hub@", "hub:pass@"), "password"),
        (URL.replace("+psycopg", ""), "scheme"),
        ("sqlite:////data/hub.sqlite", "scheme"),
        ("postgresql+psycopg://hub@db", "lacks"),
        ("postgresql+psycopg://hub@db:54321x/hub", "port"),
    ],
)
def test_a_wrong_database(url: str, word: str) -> None:
    finding = only(findings({"postgres_server": []}, hub_db_url=url))
    assert finding.key == "hub_db_url"
    assert word in finding.what
    assert "pass@" not in str(finding)


def test_two_databases_or_a_password_for_none() -> None:
    assert only(findings(hub_db_url=URL)).key == "hub_db_url"
    assert only(findings(hub_db_password="x")).key == "hub_db_password"


@pytest.mark.parametrize("name", ["cluster_cidrs", "hub_profiles"])
def test_what_is_required(name: str) -> None:
    assert only(findings(**{name: ...})).key == name


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"cluster_cidrs": "10.77.0.0/24"}, "cluster_cidrs"),
        ({"cluster_cidrs": ["10.77.0.0/24", "10.78.0/24"]}, "cluster_cidrs[1]"),
        ({"cluster_cidrs": ["10.77.0.0/24", "10.78.0.1/24"]}, "cluster_cidrs[1]"),
        ({"hub_network_cidr": "10.10.0.0/25"}, "hub_network_cidr"),
        ({"hub_api_network_cidr": "10.11.0.0/29"}, "hub_api_network_cidr"),
        ({"swarm_address_pool": ["10.20.0.0/24"]}, "swarm_address_pool[0]"),
        ({"docker_engine_address_pool": "172.30.0.0/24"}, "docker_engine_address_pool"),
        ({"hub_network_cidr": "10.77.0.0/22"}, "hub_network_cidr"),
        ({"hub_network_cidr": "10.20.4.0/22"}, "hub_network_cidr"),
        ({"hub_api_network_cidr": "10.10.1.0/24"}, "hub_api_network_cidr"),
        ({"docker_engine_address_pool": "10.76.0.0/15"}, "docker_engine_address_pool"),
        ({"swarm_address_pool": ["10.20.0.0/16", "10.20.128.0/17"]}, "swarm_address_pool[1]"),
        ({"cluster_name": "My Cluster"}, "cluster_name"),
        ({"hub_admin_users": []}, "hub_admin_users"),
        ({"hub_admin_users": ["swarmhub-probe"]}, "hub_admin_users"),
        ({"hub_port": 0}, "hub_port"),
        ({"hub_port": 70000}, "hub_port"),
        ({"hub_port": "http"}, "hub_port"),
        ({"hub_start_timeout": 5}, "hub_start_timeout"),
        ({"hub_user_gpu_limit": -1}, "hub_user_gpu_limit"),
        ({"hub_suffix_profiles": {"jetson": "jetson"}}, "hub_suffix_profiles.jetson"),
        ({"hub_suffix_profiles": {"a-b": "gpu"}}, "hub_suffix_profiles.a-b"),
        ({"hub_suffix_profiles": {"Jetson": "gpu"}}, "hub_suffix_profiles.Jetson"),
        ({"hub_group_gpu_limits": {"students": "two"}}, "hub_group_gpu_limits"),
        ({"hub_group_gpu_limits": {"students": True}}, "hub_group_gpu_limits"),
        ({"hub_group_gpu_limits": {"students": None}}, "hub_group_gpu_limits"),
        ({"hub_group_gpu_hours": {"students": -1}}, "hub_group_gpu_hours"),
        ({"hub_group_server_limits": {"students": "few"}}, "hub_group_server_limits"),
        ({"hub_user_gpu_hours": -1}, "hub_user_gpu_hours"),
        ({"hub_active_server_limit": -1}, "hub_active_server_limit"),
        ({"hub_idle_timeout": True}, "hub_idle_timeout"),
        ({"hub_idle_timeout": 599}, "hub_idle_timeout"),
        ({"hub_gpu_idle_timeout": -600}, "hub_gpu_idle_timeout"),
        ({"hub_max_age": 60}, "hub_max_age"),
        ({"hub_gpu_max_age": 60}, "hub_gpu_max_age"),
        ({"hub_start_timeout": None}, "hub_start_timeout"),
        ({"hub_homes_path": None}, "hub_homes_path"),
        ({"gpu_driver": None}, "gpu_driver"),
        ({"hub_registry_credentials": None}, "hub_registry_credentials"),
        ({"swarm_network_mode": "mesh"}, "swarm_network_mode"),
        ({"swarm_network_mode": "vip", "hub_network_cidr": "10.10.0.0/24"}, "hub_network_cidr"),
        ({"swarm_network_mtu": 900}, "swarm_network_mtu"),
        ({"swarm_network_mtu": -1}, "swarm_network_mtu"),
        ({"swarm_network_encrypted": "perhaps"}, "swarm_network_encrypted"),
        ({"hub_homes_driver": "cifs"}, "hub_homes_driver"),
        ({"docker_engine_restart": "later"}, "docker_engine_restart"),
        ({"hub_profiles": [{"display_name": "X", "gpu": 1}]}, "hub_profiles[0].gpu"),
        ({"hub_profiles": [{"display_name": "X", "constraints": ["node.labels.r==a"]}]}, "hub_profiles[0].constraints"),
        ({"hub_profiles": []}, "hub_profiles"),
    ],
)
def test_a_wrong_setting_is_named_by_its_key(variables: dict[str, Any], key: str) -> None:
    assert {finding.key for finding in findings(**variables)} == {key}


def test_what_is_empty_anyhow_may_have_no_value_and_numbers_may_be_text() -> None:
    assert findings(**dict.fromkeys((*MAY_BE_UNSET, "nfs_host", "calculation_type"))) == []
    assert findings(swarm_network_mode="vip", hub_network_cidr="10.10.0.0/23", swarm_network_mtu="1450") == []
    assert findings(hub_queue_backfill="0", hub_group_gpu_limits={"students": "2"}, hub_gpu_max_age="600") == []
    assert findings(hub_suffix_profiles={"jetson": "gpu"}) == []


def test_nobody_gets_a_card_by_choosing_a_name() -> None:
    cards = {"display_name": "Cards", "gpus": 1, "constraints": [], "groups": ["vision"]}
    given = {
        "hub_profiles": [{"display_name": "Plain", "constraints": []}, cards],
        "hub_suffix_profiles": {"jetson": "cards"},
    }
    assert findings(**given) == []
    (found,) = findings(**given, hub_native={"open_signup": True})
    assert (found.key, found.what) == (
        "hub_suffix_profiles.jetson",
        "gives cards to whoever chooses a name with -jetson",
    )


def test_a_network_with_host_bits_gets_a_suggestion() -> None:
    assert only(findings(cluster_cidrs=["10.77.0.1/24"])).cure == "did you mean 10.77.0.0/24?"


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"calculation_type": "cpu high"}, "calculation_type"),
        ({"calculation_type": "cpu=1"}, "calculation_type"),
        ({"node_labels": ["rack"]}, "node_labels"),
        ({"node_labels": {"rack": 1}}, "node_labels.rack"),
        ({"node_labels": {"rack b": "x"}}, "node_labels.rack b"),
        ({"node_labels": {"calculation_type": "cpu"}}, "node_labels.calculation_type"),
        ({"node_labels": {"gpu_model": "a6000"}}, "node_labels.gpu_model"),
    ],
)
def test_a_wrong_label_is_named_by_host_and_key(variables: dict[str, Any], key: str) -> None:
    finding = only(findings({"cpu_workers": ["cpu1", "cpu2"]}, hosts={"cpu2": variables}))
    assert (finding.host, finding.key) == ("cpu2", key)


def test_labels_of_hosts_make_profiles_possible() -> None:
    profile = {"display_name": "X", "constraints": ["node.labels.calculation_type==jetson", "node.labels.rack==a"]}
    hosts = {"cpu1": {"calculation_type": "jetson", "node_labels": {"rack": "a"}}}
    assert findings(hosts=hosts, hub_profiles=[profile]) == []


def test_a_gpu_profile_needs_a_gpu_worker() -> None:
    assert only(findings({"gpu_workers": []})).key == "hub_profiles[1].gpus"
    profile = {"display_name": "X", "gpus": 1, "constraints": ["node.labels.calculation_type==cpu"]}
    assert only(findings(hub_profiles=[profile])).key == "hub_profiles[0].constraints"


CARD, OTHER = ("GPU-6b1c2f7e-0000-4000-8000-00000000000" + digit for digit in "12")
INSTANCE = "MIG-4416c2c4-534e-4236-b26a-24692af597a1"
OLD_INSTANCE = f"MIG-{CARD}/7/0"


def test_cards_are_listed_by_full_uuid() -> None:
    lists = {"gpu_exclude": [CARD, INSTANCE], "gpu_shared": [OTHER.upper(), OLD_INSTANCE]}
    assert findings(hosts={"gpu1": lists}) == []


@pytest.mark.parametrize("text", ["GPU-6b1c2f7e", "0", "6b1c2f7e-0000-4000-8000-000000000001", f"{CARD} ", "MIG-1"])
@pytest.mark.parametrize("key", ["gpu_exclude", "gpu_shared"])
def test_what_is_no_uuid_is_refused(key: str, text: str) -> None:
    finding = only(findings(hosts={"gpu1": {key: [text]}}))
    assert (finding.key, finding.host) == (key, "gpu1")


def test_what_is_no_text_in_both_lists_of_cards_is_refused() -> None:
    found = findings(hosts={"gpu1": {"gpu_exclude": [{"a": "b"}], "gpu_shared": [{"a": "b"}]}})
    assert {finding.key for finding in found} == {"gpu_exclude", "gpu_shared"}


def test_a_list_of_cards_must_be_a_list() -> None:
    assert only(findings(hosts={"gpu1": {"gpu_shared": CARD}})).key == "gpu_shared"


def test_a_card_is_not_excluded_and_shared() -> None:
    finding = only(findings(hosts={"gpu1": {"gpu_exclude": [CARD], "gpu_shared": [OTHER, CARD]}}))
    assert (finding.key, CARD in finding.what) == ("gpu_shared", True)


def test_a_profile_that_shares_needs_a_host_with_shared_cards() -> None:
    share = {"display_name": "Share", "gpu_shared": True, "constraints": ["node.labels.rack==a"]}
    assert only(findings(hub_profiles=[share])).key == "hub_profiles[0].gpu_shared"
    hosts = {"gpu1": {"gpu_shared": [CARD]}, "gpu2": {"node_labels": {"rack": "a"}}}
    assert only(findings(hosts=hosts, hub_profiles=[share])).key == "hub_profiles[0].constraints"
    hosts["gpu1"]["node_labels"] = {"rack": "a"}
    assert findings(hosts=hosts, hub_profiles=[share]) == []


@pytest.mark.parametrize("label", ["gpu_model", "gpu_count", "gpu_memory_gb", "gpu_shared"])
def test_what_is_discovered_is_not_written(label: str) -> None:
    assert only(findings(hosts={"gpu1": {"node_labels": {label: "x"}}})).key == f"node_labels.{label}"


def test_built_images_need_a_registry() -> None:
    assert "hub_image" in only(findings({"registry_server": []})).key
    ready = dict.fromkeys(("hub_image", "hub_proxy_image", "hub_notebook_image"), "registry.example.org/x:1")
    assert findings({"registry_server": []}, **ready) == []


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("1.18.0-1", True),
        ("1.18.2-1", True),
        ("1.17.8-1", False),
        ("1.18.3-1", False),
        ("1.19.0-1", False),
        ("1.20.0~rc.1-1", False),
        ("1.20.0", True),
        ("1.20.0-1 ", True),
        (1.2, True),
        ("", False),
    ],
)
def test_a_toolkit_that_ignores_swarm_or_that_apt_would_not_find_is_refused(version: object, refused: bool) -> None:
    assert [finding.key for finding in findings(gpu_toolkit_version=version)] == ["gpu_toolkit_version"] * refused
    found = findings(hosts={"gpu2": {"gpu_toolkit_version": version}})
    assert [finding.host for finding in found] == ["gpu2"] * refused


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("swarm_netwrok_mode", "swarm_network_mode"),
        ("hub_profile", "hub_profiles"),
        ("docker_engine_auth", "docker_engine_auths"),
    ],
)
def test_a_misspelt_variable(name: str, meant: str) -> None:
    assert only(findings(**{name: []})).cure == f"did you mean {meant}?"


def test_variables_of_the_users_own_are_right() -> None:
    assert findings(my_site="x", hub_image_tag="1", ansible_user="ops") == []


def test_everything_at_once() -> None:
    found = findings({"managers": []}, hub_port=0, hub_homes_driver="nfs4", cluster_cidrs=["x"])
    assert {"managers", "hub_port", "nfs_host", "cluster_cidrs[0]"} <= {finding.key for finding in found}


def test_a_limit_without_a_manager() -> None:
    assert check_limit(["gpu2", "mgr1"], LAB) == []
    assert "playbooks/add_node.yml" in only(check_limit(["gpu2"], LAB)).cure


def test_rendering_puts_errors_first() -> None:
    warning = Finding("is low", "free some", "disk", "h1", severity="warning")
    error = Finding("is wrong", "mend it", "hub_port", file="group_vars/all.yml")
    text = render_findings([warning, error])
    assert text.splitlines() == [
        "1 to correct, 1 to know:",
        "  1. hub_port (group_vars/all.yml) — is wrong; mend it",
        "  2. h1 · disk — is low; free some",
    ]
    assert render_findings([]) == ""
    assert report([warning]) == {"errors": "", "warnings": "1 to know:\n  1. h1 · disk — is low; free some"}


def read(directory: Path) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return groups and host variables of an inventory directory, as Ansible reads them."""
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(directory / "hosts.yml")])
    manager = VariableManager(loader, inventory)
    hosts = {host.name: manager.get_vars(host=host, include_hostvars=False) for host in inventory.get_hosts()}
    return inventory.get_groups_dict(), hosts


def test_the_example_is_refused_only_for_its_addresses() -> None:
    groups, hosts = read(ROOT / "inventory/example")
    found = check_everything(groups, hosts, groups["all"], ROOT / "roles")
    assert "unedited" in only(found).what


def test_the_example_explains_every_variable() -> None:
    text = "".join(path.read_text() for path in (ROOT / "inventory/example").rglob("*.yml"))
    assert [name for name in OPTIONS if f"{name}:" not in text] == []


NFS = {"nfs_server": ["mgr1"]}


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("nfs4", "", None),
        ("nfs3", "rw,vers=3,nolock,soft", None),
        ("nfs4", "hard,nfsvers=4.1", None),
        ("nfs4", "rw,vers=3", "vers=3 contradicts hub_homes_driver nfs4"),
        ("nfs3", "nfsvers=4.2", "nfsvers=4.2 contradicts hub_homes_driver nfs3"),
        ("nfs4", "addr=10.0.0.1,hard", "addr=10.0.0.1 is not yours to write"),
        ("nfs4", "ro", "ro is not yours to write"),
        ("nfs4", "rw, hard", "is no list of mount options"),
        ("nfs4", "rw,,hard", "is no list of mount options"),
        ("bind", "hard", "mounts nothing"),
    ],
)
def test_mount_options_fit_the_driver(driver: str, options: str, words: str | None) -> None:
    found = findings({} if driver == "bind" else NFS, hub_homes_driver=driver, hub_homes_nfs_options=options)
    if words is None:
        assert found == []
    else:
        assert words in only(found).what


@pytest.mark.parametrize(
    ("quota", "groups", "driver", "words"),
    [
        ("50G", NFS, "nfs4", None),
        ("", {}, "bind", None),
        ("50 GB", NFS, "nfs4", "is no size"),
        ("0G", NFS, "nfs3", "is no size"),
        ("50", NFS, "nfs3", "is no size"),
        (50, NFS, "nfs3", "is no size"),
        ("50G", {}, "bind", "on no server of ours"),
    ],
)
def test_a_quota_is_a_size_and_kept_by_our_own_server(
    quota: str | int, groups: dict[str, list[str]], driver: str, words: str | None
) -> None:
    found = findings(groups, hub_homes_driver=driver, hub_homes_quota=quota)
    if words is None:
        assert found == []
    else:
        assert words in only(found).what


def test_a_quota_for_a_server_that_exists_already_is_refused() -> None:
    assert only(findings(hub_homes_driver="nfs4", nfs_host="store", hub_homes_quota="50G")).key == "hub_homes_quota"


def test_shared_folders_that_are_right() -> None:
    folders = [
        {"name": "datasets", "description": "Public data", "read_only": True},
        {"name": "vision_team-2", "groups": ["vision"]},
    ]
    assert findings(hub_shared_folders=folders) == []
    assert findings(hub_shared_folders=None) == []


def test_all_that_is_wrong_with_shared_folders_is_told_at_once() -> None:
    folders = [
        {"name": "Data", "group": ["a"]},
        {"groups": "vision", "read_only": "yes", "description": 5},
        {"name": "ok", "groups": ["a", 1]},
        {"name": "ok"},
        {"name": "../etc"},
    ]
    found = {finding.key: finding for finding in findings(hub_shared_folders=folders)}
    assert set(found) == {
        "hub_shared_folders[0].name",
        "hub_shared_folders[0].group",
        "hub_shared_folders[1].name",
        "hub_shared_folders[1].groups",
        "hub_shared_folders[1].read_only",
        "hub_shared_folders[1].description",
        "hub_shared_folders[2].groups",
        "hub_shared_folders[3].name",
        "hub_shared_folders[4].name",
    }
    assert found["hub_shared_folders[0].group"].cure == "did you mean groups?"
    assert "hub_shared_folders[2]" in found["hub_shared_folders[3].name"].what
    assert only(findings(hub_shared_folders={"name": "a"})).what == "is a mapping and must be a list"
    assert only(findings(hub_shared_folders=["data"])).key == "hub_shared_folders"


@pytest.mark.parametrize(
    ("homes", "shared", "key"),
    [
        ("/srv/homes", "/srv/homes/shared", "hub_shared_path"),
        ("/srv/shared/homes", "/srv/shared", "hub_shared_path"),
        ("/srv/homes", "/srv/homes", "hub_shared_path"),
        ("/srv/my homes", "/srv/shared", "hub_homes_path"),
        ("/srv/homes", "shared", "hub_shared_path"),
        ("/srv/homes", "/srv/x/../homes", "hub_shared_path"),
        ("/srv/homes/", "/srv/..shared", "hub_homes_path"),
    ],
)
def test_paths_that_cannot_be_exported_apart(homes: str, shared: str, key: str) -> None:
    found = findings(hub_homes_path=homes, hub_shared_path=shared, hub_shared_folders=[{"name": "a"}])
    assert only(found).key == key


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"monitoring_retention": "forever"}, "monitoring_retention"),
        ({"monitoring_retention": "0d"}, "monitoring_retention"),
        ({"monitoring_alert_webhook": "chat.example.org"}, "monitoring_alert_webhook"),
        ({"monitoring_alert_webhook": "ftp://chat.example.org/"}, "monitoring_alert_webhook"),
    ],
)
def test_monitoring_that_could_not_be(variables: dict[str, str], key: str) -> None:
    monitor = {"monitoring_server": ["mgr1"]}
    assert findings(monitor, monitoring_retention="90d", monitoring_alert_webhook="https://chat.example.org/x") == []
    finding = only(findings(monitor, **variables))
    assert finding.key == key
    assert "chat.example.org" not in finding.what, "it may be a secret"


def test_a_receiver_of_alerts_needs_a_host_that_sends_them() -> None:
    assert "monitoring_server" in only(findings(monitoring_alert_webhook="https://chat.example.org/x")).cure
