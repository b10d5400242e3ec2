"""The seed's variables: its grammar, and each defect that is mended (letters as in the list of the seed's defects)."""

from __future__ import annotations

import typing as t

import pytest
from swarmhub_hub.homes import mounts
from swarmhub_hub.profiles import allowed_profiles
from swarmhub_hub.seed import parse_constraint_images, parse_environment, seed_settings
from swarmhub_hub.settings import Profile, SettingsError

# The example of the seed's stack file.
STACK = {
    "PROXY_SHOULD_START": "False",
    "PROXY_API_URL": "http://proxy:8001",
    "CONFIGPROXY_AUTH_TOKEN": "abc123",
    "HUB_DB_URL": "postgresql://pghost/jupyterhub",
    "SPAWNER_NETWORK_NAME": "jupyterhub_network",
    "SPAWNER_NOTEBOOK_IMAGE": "data-analyse-notebook:notebook-6.5.4",
    "SPAWNER_ENDPOINT_MODE": "dnsrr",
    "SPAWNER_PERSISTENCE_VOLUME_TYPE": "nfs3",
    "SPAWNER_PERSISTENCE_NFS_HOST": "nfs1",
    "SPAWNER_PERSISTENCE_NFS_DEVICE": ":/export",
    "SPAWNER_CONSTRAINT_IMAGES": "jetson:node.labels.calculation_type==gpu->torch:1;"
    "quant:node.labels.calculation_type==cpu->quant:1",
    "SPAWNER_CONSTRAINT_WITH_GPUS": "jetson->1",
}


def profile_of(user: str, **changes: str) -> Profile:
    (profile,) = allowed_profiles(seed_settings({**STACK, **changes}), user, set(), admin=False)
    return profile


def test_the_seeds_stack_file_is_understood() -> None:
    settings = seed_settings(STACK)
    assert (settings.hub_port, settings.hub_connect_url) == (8001, "http://jupyterhub:8001")
    assert (settings.network, settings.endpoint_mode, settings.command) == (
        "jupyterhub_network",
        "dnsrr",
        ("start-singleuser.sh",),
    )
    (mount,) = mounts(settings.homes, "bob-2djetson", "bob-2djetson")
    assert mount["Target"] == "/home/jovyan/work/persistence"
    assert mount["VolumeOptions"]["DriverConfig"]["Options"] == {
        "type": "nfs",
        "o": "addr=nfs1,rw,vers=3,nolock,hard",
        "device": ":/export/bob-2djetson",
    }


def test_t_nfs_is_mounted_hard_unless_the_site_says_otherwise() -> None:
    assert seed_settings(STACK).homes.nfs_options.endswith(",hard")
    assert seed_settings({**STACK, "SPAWNER_PERSISTENCE_NFS_OPTS": "rw,soft"}).homes.nfs_options == "rw,soft"


def test_gpu_strings_are_alive_again() -> None:
    profile = profile_of("bob-jetson")
    assert (profile.image, profile.gpus, profile.constraints) == ("torch:1", 1, ("node.labels.calculation_type==gpu",))
    assert profile_of("bob", SPAWNER_USE_GPUS="2").gpus == 2


def test_k_a_rule_does_not_leak_into_another_users_start() -> None:
    settings = seed_settings({**STACK, "SPAWNER_CONSTRAINTS": "node.role==worker"})
    (bob,) = allowed_profiles(settings, "bob-jetson", set(), admin=False)
    (carol,) = allowed_profiles(settings, "carol", set(), admin=False)
    assert bob.constraints == ("node.labels.calculation_type==gpu",)
    assert carol.constraints == ("node.role==worker",)


def test_l_a_suffix_without_constraints_counts_and_keeps_the_default_ones() -> None:
    profile = profile_of("dan-plain", SPAWNER_CONSTRAINT_IMAGES="plain->img:1", SPAWNER_CONSTRAINTS="node.role==worker")
    assert (profile.image, profile.constraints) == ("img:1", ("node.role==worker",))


def test_m_a_rule_keeps_preferences_and_platforms() -> None:
    profile = profile_of("bob-jetson", SPAWNER_PREFERENCE="spread:node.labels.rack", SPAWNER_PLATFORM="x86_64:linux")
    assert profile.preferences == (("spread", "node.labels.rack"),)
    assert profile.platforms == (("x86_64", "linux"),)


def test_o_cifs_is_mounted_as_cifs() -> None:
    changes = {
        "SPAWNER_PERSISTENCE_VOLUME_TYPE": "cifs",
        "SPAWNER_PERSISTENCE_CIFS_HOST": "nas",
        "SPAWNER_PERSISTENCE_CIFS_DEVICE": "//nas/homes",
    }
    options = mounts(seed_settings({**STACK, **changes}).homes, "a", "a")[0]["VolumeOptions"]["DriverConfig"]["Options"]
    assert (options["type"], options["device"]) == ("cifs", "//nas/homes/a")


def test_p_a_value_may_hold_colons() -> None:
    assert parse_environment("HTTP_PROXY=x:1;HTTP:http://p:3128") == {"HTTP_PROXY=x": "1", "HTTP": "http://p:3128"}


def test_q_a_member_of_the_suffix_s_group_needs_no_such_name_and_no_other_home() -> None:
    offered = allowed_profiles(seed_settings(STACK), "alice", {"jetson"}, admin=False)
    assert [profile.image for profile in offered] == ["data-analyse-notebook:notebook-6.5.4", "torch:1"]


def test_y_one_hub_has_many_images() -> None:
    users = ("alice", "alice-jetson", "alice-quant")
    assert len({profile_of(user).image for user in users}) == 3


def test_q_a_user_named_like_a_suffix_has_no_claim() -> None:
    assert profile_of("jetson").gpus == 0
    assert seed_settings(STACK).suffix_profiles.keys() == {"jetson", "quant"}


def test_local_is_a_named_volume() -> None:
    settings = seed_settings({**STACK, "SPAWNER_PERSISTENCE_VOLUME_TYPE": "local"})
    assert mounts(settings.homes, "x", "alice")[0] == {
        "Type": "volume",
        "Source": "jupyterhub-user-alice",
        "Target": "/home/jovyan/work/persistence",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SPAWNER_USE_GPUS": "all"}, "SPAWNER_USE_GPUS: is 'all'"),
        ({"SPAWNER_CONSTRAINT_WITH_GPUS": "jetson->-1"}, "SPAWNER_CONSTRAINT_WITH_GPUS: is '-1'"),
        ({"SPAWNER_CONSTRAINT_IMAGES": "jetson"}, "'jetson' is no rule"),
        ({"SPAWNER_CONSTRAINT_IMAGES": "a->x;a->y"}, "suffix 'a' is there twice"),
        ({"SPAWNER_ENVIRONMENT": "A"}, "'A' has no value"),
        ({"SPAWNER_PERSISTENCE_NFS_HOST": ""}, "SPAWNER_PERSISTENCE_NFS_HOST: is missing"),
        ({"PROXY_SHOULD_START": "True"}, "PROXY_SHOULD_START"),
        ({"SPAWNER_MEM_LIMIT": "much"}, "SPAWNER_MEM_LIMIT: is 'much'"),
        ({"SPAWNER_PLATFORM": "linux"}, "SPAWNER_PLATFORM: is 'linux'"),
        ({"HUB_HUB_PORT": "x"}, "HUB_HUB_PORT: is 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_its_variable(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        seed_settings({**STACK, **changes})
    assert words in str(caught.value)


def test_constraints_may_be_several_and_hold_operators() -> None:
    rules: dict[str, t.Any] = parse_constraint_images("a:node.role==worker,node.labels.x!=y->registry:5000/img:1")
    assert rules == {"a": (("node.role==worker", "node.labels.x!=y"), "registry:5000/img:1")}
