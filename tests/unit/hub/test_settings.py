"""hub.json: what is read, and how it complains."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from swarmhub_hub.settings import Folder, Settings, SettingsError, load_settings, parse_settings


def test_a_profile_takes_the_notebook_image_and_sizes_in_bytes(settings: Settings) -> None:
    cpu, gpu = settings.profiles
    assert (cpu.image, cpu.mem_limit, cpu.cpu_guarantee) == ("notebook:1", 2 * 2**30, 0.5)
    assert (gpu.image, gpu.mem_limit, gpu.gpus, gpu.groups) == ("torch:1", None, 1, ("gpu-users",))


def test_who_shares_has_one_card(raw: dict[str, t.Any]) -> None:
    raw["profiles"][0]["gpu_shared"] = True
    assert (parse_settings(raw).profiles[0].gpus, parse_settings(raw).profiles[0].gpu_shared) == (1, True)


def test_notebooks_with_cards_live_as_long_as_others_unless_it_is_said(raw: dict[str, t.Any]) -> None:
    raw |= {"idle_timeout": 7200, "max_age": 86400}
    settings = parse_settings(raw)
    assert (settings.gpu_idle_timeout, settings.gpu_max_age) == (7200, 86400)
    settings = parse_settings(raw | {"gpu_idle_timeout": 3600, "gpu_max_age": 0})
    assert (settings.idle_timeout, settings.gpu_idle_timeout, settings.gpu_max_age) == (7200, 3600, 0)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("network",), None, "network: is missing"),
        (("network",), "", "network: is empty"),
        (("endpoint_mode",), "both", "endpoint_mode: is 'both'; write one of dnsrr, vip"),
        (("surprise",), 1, "surprise: is no key that the hub knows"),
        (("start_timeout",), 5, "start_timeout: is 5"),
        (("start_timeout",), True, "start_timeout: is True; write a whole number"),
        (
            ("idle_timeout",),
            599,
            "idle_timeout: is 599, but notebooks report what they do every few minutes; write 600",
        ),
        (("gpu_max_age",), 60, "gpu_max_age: is 60, but"),
        (("queue_timeout",), 0, "queue_timeout: is 0; give people"),
        (("group_gpu_limits",), {"a": "b"}, "group_gpu_limits.a: is 'b'; write a whole number"),
        (("group_gpu_hours",), {"a": -1}, "group_gpu_hours.a: is -1; it cannot be negative"),
        (("group_server_limits",), {"a": None}, "group_server_limits.a: is None; write a whole number"),
        (("group_gpu_limits",), 2, "group_gpu_limits: is int; write a mapping"),
        (("profiles", 1, "gpu_shared"), True, "profiles[1].gpu_shared: is true, but gpus asks for cards of its own"),
        (("suffix_profiles",), {"jetson": "tpu"}, "suffix_profiles.jetson: is 'tpu', but there is no such profile"),
        (("admin_users",), [], "admin_users: is empty"),
        (("admin_users",), "admin", "admin_users: is 'admin'; write a list"),
        (("homes", "driver"), "cifs", "homes.driver: is 'cifs'"),
        (("homes", "driver"), "nfs4", "homes.nfs_host: is empty"),
        (("homes", "shared_folders"), [{"name": "A"}], "homes.shared_folders[0].name: is 'A'; use a-z"),
        (("homes", "shared_folders"), [{"name": "a", "group": []}], "homes.shared_folders[0].group: is no key"),
        (
            ("homes", "shared_folders"),
            [{"name": "a", "groups": "b"}],
            "homes.shared_folders[0].groups: is 'b'; write a list",
        ),
        (("homes", "shared_folders"), [{"name": "a"}, {"name": "a"}], "homes.shared_folders: 'a' is there twice"),
        (("homes", "shared_folders"), [{"name": "a"}], "homes.shared_path: is ''; write an absolute path"),
        (("homes", "path"), "homes", "homes.path: is 'homes'; write an absolute path"),
        (("profiles",), [], "profiles: is empty"),
        (("profiles", 1, "slug"), "cpu", "slug 'cpu' is there twice"),
        (("profiles", 1, "slug"), "Big One", "slug 'Big One' may hold only"),
        (("profiles", 1, "default"), True, "more than one has default"),
        (("profiles", 1, "gpus"), -1, "profiles[1].gpus: is -1"),
        (("profiles", 1, "gpus"), "all", "profiles[1].gpus: is 'all'; write a whole number"),
        (("profiles", 1, "slot"), 1, "profiles[1].slot: is no key"),
        (("profiles", 0, "spawner_override", "mem_limit"), "2X", "profiles[0].spawner_override.mem_limit: is '2X'"),
        (("profiles", 0, "spawner_override", "cpu_limit"), 0, "profiles[0].spawner_override.cpu_limit: is 0"),
        (("profiles", 0, "spawner_override", "gpu"), 1, "profiles[0].spawner_override.gpu: is no key"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(
    raw: dict[str, t.Any], path: tuple[t.Any, ...], value: t.Any, words: str
) -> None:
    place: t.Any = raw
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(SettingsError) as caught:
        parse_settings(raw)
    assert words in str(caught.value)


def test_a_shared_folder_is_read_with_its_defaults(raw: dict[str, t.Any]) -> None:
    folders = [{"name": "data", "read_only": True}, {"name": "t", "groups": ["g"]}]
    raw["homes"] |= {"shared_path": "/srv/shared", "shared_folders": folders}
    assert parse_settings(raw).homes.shared_folders == (Folder("data", (), True), Folder("t", ("g",), False))


def test_a_server_comes_with_its_options(raw: dict[str, t.Any]) -> None:
    raw["homes"] |= {"driver": "nfs4", "nfs_host": "store"}
    with pytest.raises(SettingsError, match=r"homes\.nfs_options: is empty"):
        parse_settings(raw)


def test_the_file_comes_before_the_seeds_variables(raw: dict[str, t.Any], tmp_path: Path) -> None:
    path = tmp_path / "hub.json"
    path.write_text(json.dumps(raw))
    assert load_settings(path, {"SPAWNER_NETWORK_NAME": "other"}).network == "swarmhub"


def test_without_file_and_variables_the_hub_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SPAWNER_NETWORK_NAME"):
        load_settings(tmp_path / "hub.json", {})


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "hub.json"
    path.write_text("{")
    with pytest.raises(SettingsError, match="is not JSON"):
        load_settings(path, {})


OAUTH = {
    "client_id": "hub",
    "authorize_url": "https://id/authorize",
    "token_url": "https://id/token",
    "userdata_url": "https://id/user",
    "username_claim": "preferred_username",
    "allow_all": True,
}
LDAP = {"server_address": "ldap", "bind_dn_template": "uid={username},dc=x", "allow_all": True}
BLOCKS: dict[str, dict[str, t.Any]] = {"oauth": OAUTH, "ldap": LDAP, "native": {}}


@pytest.mark.parametrize("authenticator", ["oauth", "ldap"])
def test_an_authenticators_traits_are_kept_as_they_are_called(raw: dict[str, t.Any], authenticator: str) -> None:
    traits = BLOCKS[authenticator]
    found = parse_settings({**raw, "authenticator": authenticator, authenticator: traits})
    assert (found.authenticator, found.authenticator_traits) == (authenticator, traits)


def test_signing_up_is_described_in_natives_words(raw: dict[str, t.Any]) -> None:
    raw["native"] = {"open_signup": True, "minimum_password_length": 12}
    signup = parse_settings(raw).signup
    assert (signup.enabled, signup.open, signup.minimum_password_length) == (True, True, 12)


@pytest.mark.parametrize(
    ("authenticator", "changed", "words"),
    [
        ("native", {"open_sign": True}, "native.open_sign: is no key"),
        ("native", {"open_signup": "yes"}, "native.open_signup: is 'yes'; write true or false"),
        ("oauth", {"client_id": None}, "oauth.client_id: is missing"),
        ("oauth", {"client_secret": "x"}, "oauth.client_secret: is no key"),
        ("oauth", {"allow_all": False}, "oauth.allowed_groups: is empty"),
        ("oauth", {"allowed_groups": ["a"], "auth_state_groups_key": "g"}, "oauth.allowed_groups: keeps nobody out"),
        ("oauth", {"admin_groups": ["a"]}, "oauth.admin_groups: needs auth_state_groups_key"),
        ("oauth", {"scope": "openid"}, "oauth.scope: is 'openid'; write a list"),
        ("ldap", {"server_port": "389"}, "ldap.server_port: is '389'; write a whole number"),
        ("ldap", {"tls_strategy": "no"}, "ldap.tls_strategy: is 'no'; write one of before_bind"),
        ("ldap", {"bind_dn_template": "uid=x"}, "ldap.bind_dn_template: has no {username}"),
        ("ldap", {"bind_dn_template": None}, "ldap.bind_dn_template: is missing"),
        ("ldap", {"user_attribute": "uid"}, "ldap.bind_dn_template: says who somebody is, and so do"),
    ],
)
def test_what_is_wrong_with_signing_in_is_said_with_its_key(
    raw: dict[str, t.Any], authenticator: str, changed: dict[str, t.Any], words: str
) -> None:
    block = {name: value for name, value in {**BLOCKS[authenticator], **changed}.items() if value is not None}
    with pytest.raises(SettingsError) as caught:
        parse_settings({**raw, "authenticator": authenticator, authenticator: block})
    assert words in str(caught.value)


def test_the_block_of_another_authenticator_is_no_key(raw: dict[str, t.Any]) -> None:
    with pytest.raises(SettingsError, match="ldap: is no key"):
        parse_settings({**raw, "ldap": LDAP})
