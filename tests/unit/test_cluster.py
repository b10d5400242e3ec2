"""What is true of the cluster as a whole."""

from __future__ import annotations

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


def test_the_seed_is_an_active_manager_before_one_that_merely_answers() -> None:
    states = {"m1": {"swarm": {"state": "inactive"}}, "m2": {"swarm": {"control_available": True}}}
    assert cluster.seed_manager(states, ["m1", "m2"]) == "m2"
    assert cluster.seed_manager({"m1": states["m1"]}, ["m0", "m1"]) == "m1"
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
    reboot = {**gpu, "node_waits": [{"what": "x", "cure": "y"}], "node_engine_waits": False}
    assert cluster.wanted_nodes(["g"], {"g": reboot}) == [node]
    (node,) = cluster.wanted_nodes(["g"], {"g": {**gpu, "node_engine_waits": True, "gpu_shared": ["GPU-1"]}})
    assert "generic_resources" not in node
    assert node["labels"] == {"calculation_type": "gpu"}
    assert cluster.wanted_nodes(["g"], {"g": {**gpu, "node_state": {}}}) == []


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
