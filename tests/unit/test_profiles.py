"""The profile list: what is refused, what is filled in, what the seed's grammar can say."""

from __future__ import annotations

import pytest
from ansible.module_utils.swarmhub.profiles import (
    ProfileError,
    check_profiles,
    node_matches,
    normalise_profiles,
    size_bytes,
    slugify,
)
from ansible.module_utils.swarmhub.seed_strings import seed_strings

CPU = {"display_name": "CPU", "constraints": ["node.labels.calculation_type==cpu"]}
GPU = {"display_name": "GPU", "gpus": 1, "constraints": ["node.labels.calculation_type==gpu"]}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"display_name": ""}, "display_name"),
        ({"display_name": 5}, "display_name"),
        ({"display_name": "显卡"}, "slug"),
        ({"slug": "Not A Slug"}, "slug"),
        ({"default": "yes"}, "default"),
        ({"gpus": -1}, "gpus"),
        ({"gpus": True}, "gpus"),
        ({"gpus": "1"}, "gpus"),
        ({"gpu_model": "a6000"}, "gpu_model"),
        ({"gpu_shared": "yes"}, "gpu_shared"),
        ({"gpu_shared": True, "gpus": 1}, "gpu_shared"),
        ({"groups": "staff"}, "groups"),
        ({"constraints": "node.role==worker"}, "constraints"),
        ({"constraints": ["node.labels.x=y"]}, "constraints"),
        ({"constraints": ["labels.x==y"]}, "constraints"),
        ({"spawner_override": []}, "spawner_override"),
        ({"spawner_override": {"mem_limit": "2GB"}}, "spawner_override.mem_limit"),
        ({"spawner_override": {"shm_size": "2g"}}, "spawner_override.shm_size"),
        ({"spawner_override": {"cpu_limit": "2"}}, "spawner_override.cpu_limit"),
        ({"spawner_override": {"cpu_limit": 0}}, "spawner_override.cpu_limit"),
        ({"spawner_override": {"environment": {"A": True}}}, "spawner_override.environment"),
        ({"spawner_override": {"mem_limit": "1G", "mem_guarantee": "2G"}}, "spawner_override.mem_guarantee"),
        ({"spawner_override": {"cpu_limit": 1, "cpu_guarantee": 1.5}}, "spawner_override.cpu_guarantee"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(change: dict, key: str) -> None:
    found = check_profiles([CPU, {"display_name": "X", **change}])
    assert [finding.key for finding in found] == [f"hub_profiles[1].{key}"]


@pytest.mark.parametrize("wrong", [None, [], "CPU", {"display_name": "CPU"}])
def test_a_list_is_needed(wrong: object) -> None:
    assert [finding.key for finding in check_profiles(wrong)] == ["hub_profiles"]


def test_an_unknown_key_gets_a_suggestion() -> None:
    [finding] = check_profiles([{**CPU, "constraint": []}])
    assert finding.cure == "did you mean constraints?"


def test_slugs_and_the_default_are_unique() -> None:
    found = check_profiles([{**CPU, "default": True}, {**GPU, "slug": "cpu", "default": True}])
    assert {finding.key for finding in found} == {"hub_profiles[1].slug", "hub_profiles[1].default"}


def test_all_findings_are_in_the_error() -> None:
    with pytest.raises(ProfileError, match=r"(?s)hub_profiles\[0\].gpus.*hub_profiles\[1\].display_name"):
        normalise_profiles([{**CPU, "gpus": -1}, {}], "image")


def test_every_key_is_present_after_normalising() -> None:
    override = {"mem_limit": "2G", "cpu_limit": 2, "environment": {"N": 4}}
    first, second = normalise_profiles([{**CPU, "spawner_override": override}, {**GPU, "default": True}], "nb:1")
    assert first == {
        "display_name": "CPU",
        "slug": "cpu",
        "description": "",
        "default": False,
        "spawner_override": {
            "image": "nb:1",
            "cpu_limit": 2,
            "cpu_guarantee": None,
            "mem_limit": "2G",
            "mem_guarantee": None,
            "shm_size": None,
            "environment": {"N": "4"},
        },
        "constraints": ["node.labels.calculation_type==cpu"],
        "gpus": 0,
        "gpu_model": "",
        "gpu_shared": False,
        "groups": [],
    }
    assert (second["default"], second["gpus"]) == (True, 1)


def test_the_first_profile_is_the_default_when_none_says_so() -> None:
    assert [profile["default"] for profile in normalise_profiles([CPU, GPU], "nb")] == [True, False]


def test_constraints_lose_their_blanks() -> None:
    [profile] = normalise_profiles([{"display_name": "X", "constraints": [" node.labels.rack != a "]}], "nb")
    assert profile["constraints"] == ["node.labels.rack!=a"]


@pytest.mark.parametrize(
    ("constraints", "matches"),
    [
        ([], True),
        (["node.labels.kind==cpu"], True),
        (["node.labels.kind==CPU"], True),
        (["node.labels.kind==gpu"], False),
        (["node.labels.kind!=cpu"], False),
        (["node.labels.rack==a"], False),
        (["node.labels.rack!=a"], True),
        (["node.labels.kind==cpu", "node.labels.rack==a"], False),
        (["node.role==manager", "node.labels.gpu_model==a6000"], True),
    ],
)
def test_nodes_match_as_in_swarm(constraints: list[str], matches: bool) -> None:
    assert node_matches(constraints, {"kind": "cpu"}) is matches


def test_sizes() -> None:
    assert [size_bytes(size) for size in ("1.5G", "512M", 1024, None, "")] == [1610612736, 536870912, 1024, 0, 0]


def test_slugs() -> None:
    assert slugify("GPU (1 x A6000)") == "gpu-1-x-a6000"


def parse_images(text: str) -> dict[str, tuple[list[str], str]]:
    """Read ``SPAWNER_CONSTRAINT_IMAGES`` as the seed's image does."""
    found = {}
    for entry in text.split(";"):
        left, image = entry.split("->")
        suffix, constraints = left.split(":")
        found[suffix] = (constraints.split(","), image)
    return found


def test_seed_strings_say_what_the_seed_says() -> None:
    profiles = [
        {**CPU, "spawner_override": {"image": "base:1"}},
        {**GPU, "slug": "jetson", "gpu_model": "orin", "spawner_override": {"image": "host:5000/torch:2"}},
        {**CPU, "slug": "quant", "spawner_override": {"image": "quant:1"}},
    ]
    strings = seed_strings(normalise_profiles(profiles, "unused"))
    assert strings["SPAWNER_NOTEBOOK_IMAGE"] == "base:1"
    assert strings["SPAWNER_CONSTRAINTS"] == "node.labels.calculation_type==cpu"
    assert strings["SPAWNER_CONSTRAINT_WITH_GPUS"] == "jetson->1"
    assert parse_images(strings["SPAWNER_CONSTRAINT_IMAGES"]) == {
        "jetson": (["node.labels.calculation_type==gpu", "node.labels.gpu_model==orin"], "host:5000/torch:2"),
        "quant": (["node.labels.calculation_type==cpu"], "quant:1"),
    }
    assert "SPAWNER_USE_GPUS" not in strings


def test_seed_strings_carry_limits_and_environment_of_all() -> None:
    override = {"cpu_limit": 2, "mem_limit": "4G", "environment": {"A": "1", "B": "2"}}
    strings = seed_strings(normalise_profiles([{**GPU, "spawner_override": override}], "nb"))
    assert strings["SPAWNER_CPU_LIMIT"] == "2"
    assert strings["SPAWNER_MEM_LIMIT"] == "4G"
    assert strings["SPAWNER_ENVIRONMENT"] == "A:1;B:2"
    assert strings["SPAWNER_USE_GPUS"] == "1"


@pytest.mark.parametrize(
    ("default", "other", "key"),
    [
        ({}, {"constraints": ["node.labels.zone==a:b"]}, r"\[1\].constraints"),
        ({}, {"constraints": []}, r"\[1\].constraints"),
        ({}, {"slug": "two-words"}, r"\[1\].slug"),
        ({}, {"groups": ["staff"]}, r"\[1\].groups"),
        ({}, {"spawner_override": {"image": "a;b"}}, r"\[1\].spawner_override.image"),
        ({}, {"spawner_override": {"image": "a->b"}}, r"\[1\].spawner_override.image"),
        ({}, {"gpus": 0, "gpu_shared": True}, r"\[1\].gpu_shared"),
        ({}, {"spawner_override": {"shm_size": "1G"}}, r"\[1\].spawner_override.shm_size"),
        ({}, {"spawner_override": {"mem_limit": "1G"}}, r"\[1\].spawner_override.mem_limit"),
        ({"gpus": 1}, {"gpus": 0}, r"\[1\].gpus"),
        (
            {"spawner_override": {"environment": {"HTTP_PROXY": "http://p:3128"}}},
            {"spawner_override": {"environment": {"HTTP_PROXY": "http://p:3128"}}},
            r"\[0\].spawner_override.environment.HTTP_PROXY",
        ),
    ],
)
def test_what_the_seed_cannot_say_is_refused(default: dict, other: dict, key: str) -> None:
    profiles = normalise_profiles([{**CPU, **default}, {**GPU, **other}], "nb")
    with pytest.raises(ProfileError, match=rf"^1 to correct:\n.*hub_profiles{key} "):
        seed_strings(profiles)
