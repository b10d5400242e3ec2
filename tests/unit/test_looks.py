"""The rules on what a look at the hosts found, each against a cluster that is right but for one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.swarmhub.findings import Finding, render_findings
from ansible.module_utils.swarmhub.inventory import settings_of, user_options
from ansible.module_utils.swarmhub.looks import check_hosts
from ansible.module_utils.swarmhub.versions import version

OPTIONS = user_options(Path(__file__).parents[2] / "roles")
GROUPS = {"managers": ["mgr1"], "cpu_workers": ["cpu1"], "gpu_workers": ["gpu1", "gpu2"], "nfs_server": ["store"]}
HOSTS = ("mgr1", "cpu1", "gpu1", "gpu2", "store")
PROFILES = [
    {"display_name": "CPU", "constraints": ["node.labels.calculation_type==cpu"]},
    {"display_name": "GPU", "gpus": 2, "constraints": ["node.labels.calculation_type==gpu"]},
]


NOT_LOADED = {"card": None, "what": "the driver is not loaded", "cure": "reboot the host", "reboot": True}
LOST = {"card": "0000:0b:00.0", "what": "does not answer", "cure": "reboot the host", "reboot": True}


def card(uuid: str, name: str = "NVIDIA RTX A6000", *instances: str) -> dict[str, Any]:
    """Return a card as a look finds it, in MIG mode when there are instances."""
    parts = [{"profile": profile, "uuid": f"MIG-{uuid}-{number}"} for number, profile in enumerate(instances)]
    return {"uuid": uuid, "name": name, "memory_mb": 49140, "mig": bool(parts), "instances": parts}


def look(number: int) -> dict[str, Any]:
    """Return a good look at a host; GPU workers have ``number - 12`` cards."""
    cards = [card(f"GPU-{number}-{index}") for index in range(max(0, number - 12))]
    return {
        "hostname": f"host{number}",
        "distribution": {"id": "debian", "version": "13"},
        "addresses": [f"10.77.0.{number}/24"],
        "routes": ["10.77.0.0/24", "192.168.9.1"],
        "time": 1_700_000_000.0 + number,
        "memory_mb": 8192,
        "cpus": 4,
        "disk": {"/var/lib/docker": {"free_mb": 50_000}},
        "packages": {},
        "machine_id": f"id{number}",
        "engine": {"version": "26.1.5+dfsg1"},
        "swarm": {"state": "active", "cluster_id": "ours" if number == 11 else ""},
        "cards": cards if number in (13, 14) else [],
        "card_faults": [],
        "components": ["main", "non-free"],
        "kernel": "6.12.43+deb13-amd64",
        "booted": 100.0,
    }


def findings(
    host: str = "mgr1",
    seen: dict[str, Any] | None = None,
    variables: dict[str, Any] | None = None,
    all_seen: dict[str, Any] | None = None,
    *,
    left_out: str = "",
    managers: dict[str, Any] | None = None,
    **settings: Any,
) -> list[Finding]:
    """Check the good cluster with these answers and variables of one host, these of all, and these settings."""
    looks = {name: {**look(number), **(all_seen or {})} for number, name in enumerate(HOSTS, start=11)}
    looks[host].update(seen or {})
    looks["mgr1"]["swarm"] = managers or looks["mgr1"]["swarm"]
    looks.pop(left_out, None)
    hostvars: dict[str, dict[str, Any]] = {name: {} for name in HOSTS}
    hostvars[host] = variables or {}
    complete = settings_of({"cluster_cidrs": ["10.77.0.0/24"], "hub_profiles": PROFILES, **settings}, OPTIONS)
    return check_hosts(looks, {**GROUPS, "all": list(HOSTS)}, hostvars, complete)


def only(found: list[Finding]) -> Finding:
    """Return the one finding that there must be."""
    assert len(found) == 1, render_findings(found)
    return found[0]


def test_a_good_cluster_and_a_new_one_are_right() -> None:
    assert findings() == []
    assert findings(all_seen={"engine": None, "swarm": {"state": "inactive"}}) == []


def test_versions() -> None:
    assert [version(text) for text in ("26.1.5+dfsg1", "5:27.3.1-1", "")] == [(26, 1, 5), (5,), ()]


@pytest.mark.parametrize(
    ("host", "seen", "key", "severity"),
    [
        ("cpu1", {"distribution": {"id": "fedora", "version": "42"}}, "distribution", "error"),
        ("cpu1", {"distribution": {"id": "debian", "version": "11"}}, "distribution", "error"),
        ("gpu1", {"distribution": {"id": "debian", "version": "12"}}, "distribution", "error"),
        ("cpu1", {"distribution": {"id": "ubuntu", "version": "24.04"}}, "distribution", "warning"),
        ("gpu1", {"engine": {"version": "25.0.2"}}, "engine", "error"),
        ("cpu1", {"engine": {"version": "28.2.2"}}, "engine", "warning"),
        ("cpu1", {"engine": {"version": "29.1.0"}}, "engine", "warning"),
        ("cpu1", {"addresses": ["10.78.0.12/24"], "routes": []}, "cluster_cidrs", "error"),
        ("cpu1", {"addresses": ["10.77.0.12/24", "10.77.0.99/24"]}, "swarm_node_address", "error"),
        ("cpu1", {"routes": ["10.0.0.0/8"]}, "hub_network_cidr", "error"),
        ("cpu1", {"addresses": ["10.77.0.12/24", "172.30.4.1/24"]}, "docker_engine_address_pool", "error"),
        ("cpu1", {"mtus": {"10.77.0.12/24": 1450}}, "swarm_network_mtu", "warning"),
        ("cpu1", {"kernel_modules": {"ip_vs": False}}, "swarm_network_mode", "error"),
        ("cpu1", {"kernel_modules": {"esp4": False}}, "swarm_network_encrypted", "error"),
        ("cpu1", {"disk": {"/var/lib/docker": {"free_mb": 9_000}}}, "/var/lib/docker", "warning"),
        ("cpu1", {"disk": {"/var/lib/docker": {"free_mb": 900}}}, "/var/lib/docker", "error"),
        ("cpu1", {"time": 1_700_000_100.0}, "clock", "error"),
        ("cpu1", {"machine_id": "id11"}, "/etc/machine-id", "error"),
        ("cpu1", {"swarm": {"state": "active", "cluster_id": "theirs"}}, "swarm", "error"),
        ("gpu1", {"cards": [], "card_faults": [NOT_LOADED]}, "driver", "error"),
        ("gpu2", {"card_faults": [LOST]}, "card 0000:0b:00.0", "warning"),
        ("gpu1", {"cards": [], "card_faults": [LOST]}, "card 0000:0b:00.0", "error"),
        ("gpu2", {"cards": [card("GPU-a")]}, "hub_profiles[1].gpus", "error"),
    ],
)
def test_what_a_host_shows(host: str, seen: dict[str, Any], key: str, severity: str) -> None:
    found = [finding for finding in findings(host, seen) if finding.key == key]
    assert only(found).severity == severity
    assert host in found[0].host or key.startswith("hub_profiles")


def test_what_is_right_elsewhere() -> None:
    assert findings("cpu1", {"distribution": {"id": "debian", "version": "12"}}) == []
    assert findings("cpu1", {"engine": {"version": "20.10.24"}}) == []
    assert findings("store", {"addresses": ["10.77.0.15/24", "10.77.0.99/32"]}) == []
    assert findings("store", {"disk": {"/var/lib/docker": {"free_mb": 900}}}) == []


def test_a_server_that_a_run_leaves_out_must_have_an_address_that_is_written() -> None:
    finding = only(findings("store", left_out="store"))
    assert (finding.host, finding.key, finding.severity) == ("store", "swarm_node_address", "error")
    assert findings("store", variables={"ansible_host": "10.77.0.15"}, left_out="store") == []


def test_a_host_that_comes_under_the_name_of_a_node_is_told_before_anything_changes() -> None:
    nodes = {"n1": {"hostname": "worker-a", "state": "down"}, "n2": {"hostname": "other", "state": "ready"}}
    manager = {"state": "active", "cluster_id": "ours", "nodes": nodes}

    def joins(**swarm: Any) -> list[Finding]:
        seen = {"hostname": "worker-a", "swarm": {"state": "inactive", **swarm}}
        return [finding for finding in findings("cpu1", seen, managers=manager) if finding.key == "swarm"]

    assert only(joins()).severity == "warning"
    assert "is the host name of a node that is down" in only(joins()).what
    # Its own entry is no other's, and who is a member has its name.
    assert joins(node_id="n1", state="pending") == []
    assert joins(state="active") == joins(state="stopped") == []


def test_a_new_host_is_measured_by_the_clocks_of_those_at_work() -> None:
    now = 1_700_000_000.0
    for host in ("cpu1", "gpu1"):
        (finding,) = findings(host, {"time": now - 100, "swarm": {"state": "inactive"}})
        assert (finding.host, finding.key) == (host, "clock")


def test_packets_must_fit_through_every_nodes_interface() -> None:
    seen = {"addresses": ["10.77.0.12/24", "192.168.7.1/24"], "mtus": {"10.77.0.12/24": 1450, "192.168.7.1/24": 900}}
    assert findings("cpu1", seen, swarm_network_mtu=1450) == []
    assert findings("cpu1", seen, swarm_network_mtu=1400) == []
    finding = only(findings("cpu1", seen, swarm_network_mtu=1500))
    assert (finding.host, finding.file) == ("cpu1", "group_vars/all.yml")
    assert "10.77.0.12 takes packets of 1450 bytes" in finding.what
    # Networks that are there stay what they are: a run may not end for ever at what it cannot mend.
    assert finding.severity == "warning"
    assert only(findings("cpu1", {**seen, "swarm": {"state": "inactive"}})).severity == "error"
    # Each host is named, and all with the one value that does for all.
    wanted = findings("cpu1", seen, {"swarm_node_address": "192.168.7.1"}, all_seen={"mtus": {"10.77.0.11/24": 1400}})
    assert {finding.cure.split(",")[0] for finding in wanted if finding.key == "swarm_network_mtu"} == {"write 900"}
    # Jumbo frames do no harm, and who is no node has no overlay.
    assert findings("cpu1", {"mtus": {"10.77.0.12/24": 9000}}) == []
    assert findings("store", {"mtus": {"10.77.0.15/24": 900}}) == []


def test_a_kernel_with_all_that_is_needed_is_right() -> None:
    assert findings(all_seen={"kernel_modules": {"ip_vs": True, "esp4": True}}) == []
    finding = only(findings("gpu1", {"kernel_modules": {"ip_vs": False, "esp4": True}}))
    assert "6.12.43+deb13-amd64 has no IPVS" in finding.what
    assert "choose dnsrr" in finding.cure


def test_encryption_between_engines_of_several_versions_is_worth_a_word() -> None:
    older = {"engine": {"version": "20.10.24+dfsg1"}}
    assert findings("cpu1", older) == []
    assert findings(swarm_network_encrypted=True) == []
    assert findings("cpu1", older, swarm_network_encrypted="false") == []
    finding = only(findings("cpu1", older, swarm_network_encrypted=True))
    assert (finding.key, finding.severity) == ("swarm_network_encrypted", "warning")


def test_an_engine_that_does_not_answer_is_no_host_without_an_engine() -> None:
    finding = only(findings("cpu1", {"engine": None, "engine_fault": "timed out", "swarm": {"state": "inactive"}}))
    assert (finding.key, finding.host) == ("engine", "cpu1")
    assert "(timed out)" in finding.what


def test_the_address_for_the_swarm() -> None:
    seen = {"addresses": ["10.77.0.12/24", "10.77.0.99/24"]}
    assert findings("cpu1", seen, {"swarm_node_address": "10.77.0.99"}) == []
    assert only(findings("cpu1", seen, {"swarm_node_address": "10.77.0.98"})).key == "swarm_node_address"


def test_a_collision_is_said_once_for_all_hosts() -> None:
    finding = only(findings(all_seen={"routes": ["10.10.2.0/24"]}))
    assert (finding.key, finding.host) == ("hub_network_cidr", ", ".join(HOSTS))


def test_a_worker_of_another_swarm_while_no_manager_is_in_one() -> None:
    found = findings("cpu1", {"swarm": {"state": "active"}}, all_seen={"swarm": {"state": "inactive"}})
    assert (only(found).host, found[0].key) == ("cpu1", "swarm")
    # A manager whose engine is stopped is started, and its workers stay with it.
    stopped = {"engine": None, "swarm": {"state": "stopped"}}
    assert findings("cpu1", {"swarm": {"state": "active"}}, all_seen=stopped) == []


@pytest.mark.parametrize("state", ["active", "error"])
def test_a_host_that_was_removed_from_the_swarm_while_it_was_off(state: str) -> None:
    nodes = {node_id: {"hostname": f"{node_id}.lan"} for node_id in "ab"}
    manager = {"state": "active", "cluster_id": "ours", "node_id": "a", "nodes": nodes}
    assert findings("cpu1", {"swarm": {"state": state, "node_id": "b"}}, managers=manager) == []
    found = findings("cpu1", {"swarm": {"state": state, "node_id": "c"}}, managers=manager)
    assert (only(found).host, found[0].key, "was removed from the swarm" in found[0].what) == ("cpu1", "swarm", True)
    # While the managers cannot agree they tell of no node.
    assert findings("cpu1", {"swarm": {"state": state, "node_id": "c"}}, managers={**manager, "nodes": {}}) == []


DRIVER = ["nvidia-driver", "nvidia-kernel-dkms", "nvidia-smi", "libcuda1"]
BARE = {
    "cards": [],
    "card_faults": [NOT_LOADED],
    "components": ["main", "non-free"],
    "kernel": "6.12.43+deb13-amd64",
    "booted": 100.0,
}


def installed(since: float) -> dict[str, Any]:
    return {name: {"version": "550.163.01-2", "held": True, "since": since} for name in DRIVER}


def test_cards_wait_for_their_driver() -> None:
    assert findings("gpu1", BARE, {"gpu_driver": True}) == []
    assert findings("gpu1", BARE, gpu_driver=True) == []
    assert only(findings("gpu1", BARE)).key == "driver"


def test_a_driver_waits_for_its_first_boot_only() -> None:
    assert findings("gpu1", {**BARE, "packages": installed(since=101.0)}, gpu_driver=True) == []
    finding = only(findings("gpu1", {**BARE, "packages": installed(since=99.0)}, gpu_driver=True))
    assert (finding.key, finding.severity) == ("driver", "error")


def test_a_driver_of_a_wanted_version_is_found_by_its_packages_names() -> None:
    pinned = {"gpu_driver": True, "gpu_driver_packages": ["nvidia-driver=550.163.01-2"]}
    assert findings("gpu1", {**BARE, "packages": installed(since=101.0)}, pinned) == []
    assert only(findings("gpu1", {**BARE, "packages": installed(since=99.0)}, pinned)).key == "driver"


def test_a_driver_that_this_run_mends_by_a_reboot_does_not_stop_it() -> None:
    assert only(findings("gpu1", BARE, gpu_reboot=True)).severity == "warning"


def test_what_a_reboot_mends_on_a_host_that_has_served_stops_nobody_else() -> None:
    serving = {**BARE, "engine": {"version": "26.1.5", "advertised": {"GPU": ["GPU-13-0"]}}}
    assert only(findings("gpu1", serving)).severity == "warning"
    missing = {"card": None, "what": "there is no nvidia-smi", "cure": "install the driver", "reboot": False}
    assert only(findings("gpu1", {**serving, "card_faults": [missing]})).severity == "error"


def test_a_driver_must_be_within_reach() -> None:
    lacking = {**BARE, "components": ["main"]}
    assert only(findings("gpu1", lacking, {"gpu_driver": True})).key == "gpu_driver"
    assert (
        findings("gpu1", lacking, {"gpu_driver": True}, host_package_mirror="https://mirror.example.org/debian") == []
    )
    finding = only(findings("gpu1", {**BARE, "kernel": "6.18.44-fc"}, {"gpu_driver": True}))
    assert (finding.key, finding.severity) == ("gpu_driver", "warning")


def test_ubuntus_driver_has_other_packages() -> None:
    ubuntu = {**BARE, "distribution": {"id": "ubuntu", "version": "24.04"}}

    def keys(**variables: Any) -> set[str]:
        return {finding.key for finding in findings("gpu1", ubuntu, {"gpu_driver": True, **variables})}

    assert keys() == {"distribution", "gpu_driver_packages"}
    assert keys(gpu_driver_packages=["nvidia-headless-570-server", "nvidia-utils-570-server"]) == {"distribution"}


def test_a_fault_is_one_sentence_with_host_card_and_cure() -> None:
    seen = {"card_faults": [LOST]}
    assert str(only(findings("gpu2", seen))) == "gpu2 · card 0000:0b:00.0 — does not answer; reboot the host"


def test_a_list_without_a_value_is_an_empty_one() -> None:
    empty = {"gpu_exclude": None, "gpu_shared": None}
    assert only(findings("gpu2", {"card_faults": [LOST]}, empty)).key == "card 0000:0b:00.0"
    assert only(findings("gpu1", BARE, {"gpu_driver": True, "gpu_driver_packages": None})).key == "driver"


def test_a_card_that_is_known_to_be_sick_is_excluded_without_a_word() -> None:
    seen = {"card_faults": [{**LOST, "card": "GPU-sick"}]}
    assert findings("gpu2", seen, {"gpu_exclude": ["GPU-sick"]}) == []
    assert only(findings("gpu2", seen)).key == "card GPU-sick"


def test_a_lost_card_stops_nobody() -> None:
    seen = {"cards": [card("GPU-14-0")], "card_faults": [LOST]}
    found = findings("gpu2", seen, {"gpu_exclude": ["GPU-14-1"]})
    assert {(finding.key, finding.severity) for finding in found} == {
        ("card 0000:0b:00.0", "warning"),
        ("gpu_exclude", "warning"),
        ("hub_profiles[1].gpus", "warning"),
    }


@pytest.mark.parametrize("key", ["gpu_exclude", "gpu_shared"])
def test_a_listed_card_must_be_there_and_is_not_given_away(key: str) -> None:
    assert only(findings("gpu1", variables={key: ["GPU-x"]})).key == key
    assert only(findings("gpu2", variables={key: ["GPU-14-0"]})).key == "hub_profiles[1].gpus"


def test_instances_are_shared_one_by_one() -> None:
    cut = card("GPU-c", "NVIDIA A100", "1g.10gb", "1g.10gb")
    seen = {"cards": [*look(14)["cards"], cut]}
    assert findings("gpu2", seen, {"gpu_shared": ["MIG-GPU-c-0"]}) == []
    assert "MIG mode" in only(findings("gpu2", seen, {"gpu_shared": ["GPU-c"]})).what


def wanting(**keys: Any) -> list[dict[str, Any]]:
    return [{"display_name": "X", **keys}]


MIXED = {
    "cards": [card("GPU-a"), card("GPU-b"), card("GPU-c", "RTX 3090"), card("GPU-d", "A100", "1g.10gb", "1g.10gb")]
}


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"gpus": 2}, ""),
        ({"gpus": 3}, "gpus"),
        ({"gpus": 1, "gpu_model": "rtx-a6000"}, ""),
        ({"gpus": 2, "gpu_model": "RTX-A6000"}, ""),
        ({"gpus": 2, "gpu_model": "rtx-3090"}, "gpus"),
        ({"gpus": 2, "gpu_model": "mig-1g-10gb"}, ""),
        ({"gpus": 1, "gpu_model": "a100"}, "gpu_model"),
        ({"gpus": 1, "gpu_model": "h100"}, "gpu_model"),
        ({"gpu_shared": True}, "gpu_shared"),
    ],
)
def test_cards_are_counted_by_kind(keys: dict[str, Any], wrong: str) -> None:
    found = findings("gpu2", MIXED, hub_profiles=wanting(**keys))
    assert [finding.key for finding in found] == ([f"hub_profiles[0].{wrong}"] if wrong else [])
    if wrong == "gpu_model":
        assert "mig-1g-10gb, rtx-3090, rtx-a6000" in found[0].cure


def test_one_model_is_matched_by_the_label_and_not_on_another_host() -> None:
    assert findings(hub_profiles=wanting(gpus=2, gpu_model="rtx-a6000")) == []
    found = only(findings(hub_profiles=wanting(gpus=3, gpu_model="rtx-a6000")))
    assert (found.key, "more than 2 of one kind" in found.what) == ("hub_profiles[0].gpus", True)


@pytest.mark.parametrize(("model", "right"), [("", True), ("rtx-a6000", True), ("rtx-3090", False)])
def test_shared_cards_are_of_the_model_that_is_asked_for(model: str, right: bool) -> None:
    found = findings(
        "gpu2", variables={"gpu_shared": ["GPU-14-0"]}, hub_profiles=wanting(gpu_shared=True, gpu_model=model)
    )
    assert (found == []) is right


@pytest.mark.parametrize(
    ("override", "key", "severity"),
    [
        ({"mem_limit": "9G"}, "mem_limit", "warning"),
        ({"mem_guarantee": "9G"}, "mem_guarantee", "error"),
        ({"cpu_limit": 5}, "cpu_limit", "error"),
        ({"cpu_guarantee": 4.5}, "cpu_guarantee", "error"),
    ],
)
def test_profiles_larger_than_any_node(override: dict[str, Any], key: str, severity: str) -> None:
    finding = only(findings(hub_profiles=[{"display_name": "X", "spawner_override": override}]))
    assert (finding.key, finding.severity) == (f"hub_profiles[0].spawner_override.{key}", severity)


def test_profiles_as_large_as_a_node_fit() -> None:
    assert findings(hub_profiles=[{"display_name": "X", "spawner_override": {"mem_limit": "8G", "cpu_limit": 4}}]) == []


DEAF = {"packages": {"nvidia-container-toolkit": {"version": "1.18.1-1", "held": True}}}


def test_a_toolkit_that_ignores_swarm_must_not_stay() -> None:
    finding = only(findings("gpu1", DEAF, gpu_toolkit_version=""))
    assert (finding.key, finding.host) == ("gpu_toolkit_version", "gpu1")
    assert 'mode = "legacy"' in finding.cure
    # It is about to be replaced, or follows swarm in its older mode.
    assert findings("gpu1", DEAF) == []
    assert findings("gpu1", {**DEAF, "toolkit_mode": "legacy"}, gpu_toolkit_version="") == []


def test_risky_mount_options_are_warned_about_and_no_more() -> None:
    found = findings(hub_homes_driver="nfs3", hub_homes_nfs_options="rw,vers=3,nolock,soft")
    assert {finding.severity for finding in found} == {"warning"}
    assert [finding.what.split(":")[0] for finding in found] == ["has nolock", "has soft"]
    assert findings(hub_homes_driver="nfs3") == []
    assert findings(hub_homes_driver="nfs4", hub_homes_nfs_options="nolock") == []


def mounted(kind: str, *options: str) -> dict[str, Any]:
    return {"file_systems": {"/srv/swarmhub/homes": {"type": kind, "options": list(options)}}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (mounted("xfs", "rw", "prjquota"), None),
        (mounted("ext4", "rw"), "needs XFS with prjquota, and /srv/swarmhub/homes is on ext4 with rw"),
        (mounted("xfs", "rw", "noquota"), "is on xfs with rw,noquota"),
        (mounted("xfs", "pqnoenforce"), "is on xfs with pqnoenforce"),
    ],
)
def test_a_quota_needs_a_file_system_that_keeps_it(found: dict[str, Any], words: str | None) -> None:
    assert findings("store", found) == []
    told = findings("store", found, hub_homes_quota="50G")
    if words is None:
        assert told == []
    else:
        assert words in only(told).what
        assert (only(told).host, only(told).key, only(told).severity) == ("store", "hub_homes_quota", "error")


def test_a_shared_folder_that_the_site_did_not_make_is_named() -> None:
    there = {"/srv/swarmhub/shared/data": {"type": "directory"}}
    wanted: dict[str, Any] = {"hub_homes_driver": "bind", "hub_shared_folders": [{"name": "data"}]}
    assert findings(all_seen={"files": there}, **wanted) == []
    told = only(findings("gpu1", {"files": {}}, all_seen={"files": there}, **wanted))
    assert (told.host, told.what) == ("gpu1", "/srv/swarmhub/shared/data is not there")
