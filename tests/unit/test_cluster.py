"""What is true of the cluster as a whole."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import cluster


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.0.0.5/24", "192.168.9.1/24"], "10.0.0.5"),
        (["10.0.0.5/24", "10.0.0.6/24"], ""),
        (["192.168.9.1/24"], ""),
        ([], ""),
    ],
)
def test_the_address_is_the_only_one_inside_the_cluster(addresses: list[str], expected: str) -> None:
    assert cluster.address_within(addresses, ["10.0.0.0/24"]) == expected


SEEN = {"addresses": {"10.0.0.5/24": 1500, "192.168.9.1/24": 1500}}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"node_state": SEEN, "swarm_node_address": "10.9.0.6", "ansible_host": "10.0.0.7"}, "10.9.0.6"),
        ({"node_state": SEEN, "ansible_host": "10.0.0.7"}, "10.0.0.5"),
        ({"node_state": {"addresses": {}}, "ansible_host": "10.0.0.7"}, "10.0.0.7"),
        ({"swarm_node_address": "10.9.0.6", "ansible_host": "10.0.0.7"}, "10.9.0.6"),
        ({"ansible_host": "10.0.0.7"}, "10.0.0.7"),
        ({"ansible_host": "192.168.9.1"}, ""),
        ({"ansible_host": "store.example"}, ""),
        ({}, ""),
    ],
)
def test_what_a_host_offers_is_at_the_address_that_the_look_or_the_inventory_tells(
    variables: dict[str, t.Any], expected: str
) -> None:
    assert cluster.offered_address("store", {"store": variables}, ["10.0.0.0/24"]) == expected


def test_no_host_offers_nothing() -> None:
    assert cluster.offered_address("", {}, []) == ""


GROUPS = {
    "all": ["mgr1", "mgr2", "mgr3", "cpu1", "gpu1", "gpu2", "both", "store"],
    "managers": ["mgr1", "mgr2", "mgr3", "both"],
    "cpu_workers": ["cpu1", "both"],
    "gpu_workers": ["gpu1", "gpu2"],
    "registry_server": ["gpu2"],
}


def test_who_adds_nodes_contacts_them_and_one_manager() -> None:
    assert cluster.scope("gpu1", GROUPS) == {
        "hosts": "gpu1,mgr1", "changing": ["gpu1"], "workers": ["gpu1"], "manager": "mgr1",
    }  # fmt: skip
    assert cluster.scope(" gpu1, cpu1", GROUPS, "mgr2")["hosts"] == "gpu1,cpu1,mgr2"


def test_who_upgrades_nodes_names_managers_as_well_and_talks_to_another_where_there_is_one() -> None:
    def upgraded(node: str, groups: dict[str, list[str]] = GROUPS) -> list[t.Any]:
        return list(cluster.scope(node, groups, upgrading=True).values())

    assert upgraded("gpu2,both") == ["gpu2,both,mgr1", ["gpu2", "both"], ["gpu2", "both"], "mgr1"]
    assert upgraded("mgr1") == ["mgr1,mgr2", ["mgr1"], [], "mgr2"]
    assert upgraded("mgr1", {**GROUPS, "managers": ["mgr1"]}) == ["mgr1", ["mgr1"], [], "mgr1"]
    with pytest.raises(ValueError, match="store is no node"):
        upgraded("store")


def test_a_manager_is_brought_in_by_another_and_proven_by_a_notebook_where_one_may_run() -> None:
    assert cluster.scope("mgr1,both", GROUPS) == {
        "hosts": "mgr1,both,mgr2", "changing": ["mgr1", "both"], "workers": ["both"], "manager": "mgr2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("added", "manager", "words"),
    [
        ("", "", "say which node"),
        (None, "", "say which node"),
        ("gpu9", "", "gpu9 is no host of the inventory"),
        ("gpu1,store", "", "store is not a manager or worker and nothing else"),
        ("gpu2", "", "gpu2 is not a manager or worker and nothing else"),
        ("gpu1", "cpu1", "cpu1 is no manager to talk to"),
        ("mgr1", "mgr1", "mgr1 is no manager to talk to: -e manager= names one of mgr2, mgr3, both"),
        ("mgr1,mgr2,mgr3,both", "", "no manager is left to bring in mgr1, mgr2, mgr3, both: run site.yml"),
    ],
)
def test_what_cannot_be_added_is_refused(added: str | None, manager: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cluster.scope(added, GROUPS, manager)


def test_the_hubs_cores_are_those_of_the_smallest_manager_in_this_run_or_not() -> None:
    nodes = {
        "a": {"role": "manager", "cpus": 4},
        "b": {"role": "manager", "cpus": 1},
        "c": {"role": "worker", "cpus": 1},
        "d": {"role": "manager", "cpus": 0},
    }
    states = {"mgr1": {"cpus": 4, "swarm": {"nodes": nodes}}, "gpu1": {"cpus": 1, "swarm": {}}}
    assert cluster.hub_cores(states, ["mgr1", "mgr2"]) == 1
    assert (
        cluster.hub_cores({"mgr1": {"cpus": 4, "swarm": {}}, "mgr2": {"cpus": 2, "swarm": {}}}, ["mgr1", "mgr2"]) == 2
    )


def test_every_closed_port_is_named() -> None:
    tried = [{"item": ["10.0.0.1", 2377]}, {"item": ["10.0.0.1", 7946], "msg": "Timeout when waiting"}]
    hostvars = {"gpu1": {"node_tried": {"results": tried}}, "cpu1": {"node_tried": {"skipped": True}}, "mgr1": {}}
    assert cluster.cannot_join(hostvars, hostvars).startswith("gpu1 cannot reach 10.0.0.1 at TCP port 7946: open")
    assert cluster.cannot_join(["cpu1", "mgr1"], hostvars) == ""


def test_only_managers_that_answer_must_be_reached() -> None:
    nodes = {"a": {"manager": "10.0.0.2"}, "b": {"manager": ""}, "c": {"manager": "10.0.0.1"}}
    assert cluster.manager_addresses({"m1": {"swarm": {"nodes": nodes}}}, "m1") == ["10.0.0.1", "10.0.0.2"]
    assert cluster.manager_addresses({"m1": {"swarm": {"state": "inactive"}}}, "m1") == []
    assert cluster.manager_addresses({}, "") == []


def test_nodes_are_added_to_a_cluster_that_is_as_the_files_describe() -> None:
    references = {"hub": "r/hub:new", "notebook": "theirs:1"}
    settings = {"notebook": "theirs:1"}
    state = {"swarm": {"control_available": True}, "engine": {"images": ["r/hub:new"]}}
    assert cluster.lacks({"m1": state}, "m1", references, settings) == ""
    old = {**state, "engine": {"images": ["r/hub:old"]}}
    assert "yet to build the images of this checkout (hub)" in cluster.lacks({"m1": old}, "m1", references, settings)
    idle = {"m1": {"swarm": {"control_available": False}}}
    assert cluster.lacks(idle, "m1", references, settings).startswith("m1 is no manager at work")
    assert cluster.lacks({}, "", references, settings).startswith("The manager of this run is no manager at work")


def test_the_seed_is_an_active_manager_before_one_that_merely_answers() -> None:
    states = {"m1": {"swarm": {"state": "inactive"}}, "m2": {"swarm": {"control_available": True}}}
    assert cluster.seed_manager(states, ["m1", "m2"]) == "m2"
    assert cluster.seed_manager({"m1": states["m1"]}, ["m0", "m1"]) == "m1"
    stopped = {"m1": states["m1"], "m2": {"swarm": {"state": "stopped"}}}
    assert cluster.seed_manager(stopped, ["m1", "m2"]) == "m2"
    assert cluster.seed_manager({}, ["m1"]) == ""


def test_hosts_that_do_not_answer_stop_the_run_unless_they_may_be_skipped() -> None:
    managers = ["m1", "m2", "m3"]
    assert cluster.unreachable_message([], managers, False) == ""
    assert "w2, w7" in cluster.unreachable_message(["w7", "w2"], managers, False)
    assert cluster.unreachable_message(["w7"], managers, True) == ""
    assert cluster.unreachable_message(["m1"], managers, True) == ""
    assert "majority" in cluster.unreachable_message(["m1", "m2"], managers, True)
    assert "majority" in cluster.unreachable_message(["m1"], ["m1"], True)


def test_an_image_s_tag_follows_its_inputs(tmp_path: Path) -> None:
    for name in ("hub", "proxy", "notebook"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "Dockerfile").write_text("FROM x")
    first = cluster.images(tmp_path, "10.0.0.1:5000", {"base": "debian"})
    assert first["hub"].startswith("10.0.0.1:5000/swarmhub/hub:")
    assert cluster.images(tmp_path, "10.0.0.1:5000", {"base": "other"}) != first
    (tmp_path / "images" / "hub" / "Dockerfile").write_text("FROM y")
    second = cluster.images(tmp_path, "10.0.0.1:5000", {"base": "debian"})
    assert second["hub"] != first["hub"]
    assert second["proxy"] == first["proxy"]
    settings = {"base": "debian", "hub": "site/hub:1"}
    assert cluster.images(tmp_path, "", settings)["hub"] == "site/hub:1"
    assert cluster.images_to_build(first, settings, []) == ["proxy", "notebook"]
    assert cluster.images_to_build(first, settings, [first["proxy"]]) == ["notebook"]
    asked = [first["proxy"], first["notebook"], "site/hub:1", "elsewhere/notebook:2"]
    assert cluster.images_to_push(first, settings, asked, [first["proxy"], *asked[2:]]) == [first["proxy"]]


CARD = {"uuid": "GPU-1", "name": "NVIDIA RTX A6000", "memory_mb": 49140}


def test_labels_say_what_a_node_is_for_and_what_its_cards_are() -> None:
    assert cluster.node_labels(["cpu_workers"], {}) == {"calculation_type": "cpu"}
    assert cluster.node_labels(["managers"], {}) == {}
    assert cluster.node_labels(["gpu_workers", "managers"], {"node_labels": {"rack": 7}}, [CARD, CARD]) == {
        "calculation_type": "gpu",
        "rack": "7",
        "gpu_model": "rtx-a6000",
        "gpu_count": "2",
        "gpu_memory_gb": "48",
    }
    assert cluster.node_labels(["gpu_workers"], {"calculation_type": "jetson"})["calculation_type"] == "jetson"
    kept = {"gpu_exclude": ["GPU-1"], "gpu_shared": ["GPU-2"]}
    assert cluster.node_labels([], kept, [CARD, {**CARD, "uuid": "GPU-2"}])["gpu_shared"] == "GPU-2"


def test_a_node_is_wanted_with_its_pooled_cards_unless_its_engine_waits() -> None:
    gpu = {
        "node_state": {"cards": [CARD, {**CARD, "uuid": "GPU-2"}]},
        "swarm_node_id": "n1",
        "group_names": ["gpu_workers"],
        "gpu_exclude": ["GPU-2"],
    }
    (node,) = cluster.wanted_nodes(["g"], {"g": gpu})
    assert node["generic_resources"] == {"GPU": ["GPU-1"]}
    assert node["labels"] == {
        "calculation_type": "gpu",
        "gpu_model": "rtx-a6000",
        "gpu_count": "1",
        "gpu_memory_gb": "48",
        "gpu_shared": None,
    }
    # A reboot that is pending for a lost card changes nothing about those that are left.
    reboot = {**gpu, "node_compared": {"waits": [{"what": "x", "cure": "y"}], "engine_waits": False}}
    assert cluster.wanted_nodes(["g"], {"g": reboot}) == [node]
    waiting = {**gpu, "node_compared": {"engine_waits": True}, "gpu_shared": ["GPU-1"]}
    (node,) = cluster.wanted_nodes(["g"], {"g": waiting})
    assert "generic_resources" not in node
    assert node["labels"] == {"calculation_type": "gpu"}
    assert cluster.wanted_nodes(["g"], {"g": {**gpu, "node_state": {}}}) == []


@pytest.mark.parametrize(
    ("reference", "listed"),
    [
        ("jupyter/lab", "jupyter/lab:latest"),
        ("jupyter/lab:7", "jupyter/lab:7"),
        ("10.0.0.1:5000/lab", "10.0.0.1:5000/lab:latest"),
        ("10.0.0.1:5000/lab:7@sha256:ab", "10.0.0.1:5000/lab@sha256:ab"),
        ("docker.io/library/debian:13", "debian:13"),
        ("docker.io/jupyter/lab@sha256:ab", "jupyter/lab@sha256:ab"),
    ],
)
def test_an_image_is_there_whatever_its_reference_is_like(reference: str, listed: str) -> None:
    assert cluster.missing_images([reference], ["other:1", listed]) == []
    assert cluster.missing_images([reference], ["other:1"]) == [reference]


def test_former_tags_of_the_same_repositories_are_outdated() -> None:
    wanted = ["r:5000/lab:2", "jupyter/base", "r:5000/gpu@sha256:ab"]
    present = [
        "r:5000/lab:1",
        "r:5000/lab:2",
        "r:5000/lab@sha256:cd",
        "jupyter/base:latest",
        "jupyter/base:1",
        "r:5000/gpu:1",
    ]
    assert cluster.outdated_images(wanted, [*present, "site/own:1", "debian:13"]) == [
        "jupyter/base:1",
        "r:5000/gpu:1",
        "r:5000/lab:1",
    ]


def test_images_are_those_of_the_profiles_that_fit() -> None:
    def profile(image: str, *constraints: str) -> dict[str, object]:
        return {"spawner_override": {"image": image}, "constraints": list(constraints)}

    profiles = [
        profile("a", "node.labels.calculation_type==cpu"),
        profile("b", "node.labels.calculation_type==gpu"),
        profile("c"),
    ]
    assert cluster.images_for(profiles, {"calculation_type": "cpu"}) == ["a", "c"]


def test_a_node_is_drained_through_another_manager_where_there_is_one() -> None:
    states = {host: {"swarm": {"control_available": host != "m1"}} for host in ("m1", "m2", "m3")}
    assert cluster.peer_manager(states, states, "w") == "m2"
    assert cluster.peer_manager(states, states, "m2") == "m3"
    assert cluster.peer_manager({"m1": {"swarm": {"control_available": True}}}, ["m1", "m2"], "m1") == "m1"
