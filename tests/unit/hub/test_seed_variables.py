"""Each variable of the seed's image: honoured, refused, or warned about where it cannot mean anything here."""

from __future__ import annotations

import stat
import typing as t
from pathlib import Path

import pytest
from swarmhub_hub import database, seed
from swarmhub_hub.config import configure
from swarmhub_hub.seed import seed_settings
from swarmhub_hub.settings import Settings, SettingsError
from test_seed import STACK
from traitlets.config import Config

# A value, and where it shows: an attribute of the settings, of the first profile, of the homes, of the sign-up's rules,
# or a trait.
HONOURED: dict[str, tuple[str, str, t.Any]] = {
    "PROXY_API_URL": ("http://p:1", "proxy_api_url", "http://p:1"),
    "HUB_HUB_PORT": ("9001", "hub_connect_url", "http://jupyterhub:9001"),
    "HUB_CONNECT_IP": ("hub2", "hub_connect_url", "http://hub2:8001"),
    "HUB_COOKIE_SECRET_FILE": ("/data/c", "cookie_secret_file", "/data/c"),
    "HUB_DB_URL": ("mysql://hub:x@db/hub", "db_url", "mysql+pymysql://hub@db/hub"),
    "HUB_ACTIVE_SERVER_LIMIT": ("7", "active_server_limit", 7),
    "HUB_ACTIVE_USER_WINDOW": ("60", "traits.JupyterHub.active_user_window", 60),
    "HUB_ACTIVITY_RESOLUTION": ("5", "traits.JupyterHub.activity_resolution", 5),
    "HUB_CONCURRENT_SPAWN_LIMIT": ("3", "traits.SwarmhubSpawner.concurrent_creations", 3),
    "HUB_INIT_SPAWNERS_TIMEOUT": ("9", "traits.JupyterHub.init_spawners_timeout", 9),
    "SPAWNER_NOTEBOOK_IMAGE": ("img:1", "profile.image", "img:1"),
    "SPAWNER_NETWORK_NAME": ("net", "network", "net"),
    "SPAWNER_PERSISTENCE_VOLUME_TYPE": ("local", "homes.driver", "local"),
    "SPAWNER_PERSISTENCE_VOLUME_TARGET_SUBPATH": ("/keep", "homes.target", "/home/jovyan/work/keep"),
    "SPAWNER_PERSISTENCE_VOLUME_MKDIRPATH": ("/mnt", "homes.mount", "/mnt"),
    "SPAWNER_PERSISTENCE_NFS_HOST": ("nfs2", "homes.nfs_host", "nfs2"),
    "SPAWNER_PERSISTENCE_NFS_DEVICE": ("/other", "homes.path", "/other"),
    "SPAWNER_PERSISTENCE_NFS_OPTS": (",rw,vers=3", "homes.nfs_options", ",rw,vers=3"),
    "SPAWNER_CPU_LIMIT": ("4", "profile.cpu_limit", 4.0),
    "SPAWNER_CPU_GUARANTEE": ("0.5", "profile.cpu_guarantee", 0.5),
    "SPAWNER_MEM_LIMIT": ("8G", "profile.mem_limit", 8 * 2**30),
    "SPAWNER_MEM_GUARANTEE": ("2G", "profile.mem_guarantee", 2 * 2**30),
    "SPAWNER_ENVIRONMENT": ("A:b:c", "profile.environment", {"A": "b:c"}),
    "SPAWNER_ENDPOINT_MODE": ("vip", "endpoint_mode", "vip"),
    "SPAWNER_SPAWN_CMD": ("run.sh", "command", ("run.sh",)),
    "SPAWNER_DEBUG": ("False", "traits.SwarmhubSpawner.debug", False),
    "SPAWNER_CONSECUTIVE_FAILURE_LIMIT": ("5", "traits.SwarmhubSpawner.consecutive_failure_limit", 5),
    "SPAWNER_POLL_INTERVAL": ("20", "poll_interval", 20),
    "SPAWNER_START_TIMEOUT": ("99", "start_timeout", 99),
    "SPAWNER_USE_GPUS": ("2", "profile.gpus", 2),
    "SPAWNER_CONSTRAINTS": ("a==b,c!=d", "profile.constraints", ("a==b", "c!=d")),
    "SPAWNER_PREFERENCE": ("spread:node.labels.rack", "profile.preferences", (("spread", "node.labels.rack"),)),
    "SPAWNER_PLATFORM": ("x86_64:linux", "profile.platforms", (("x86_64", "linux"),)),
    "SPAWNER_CONSTRAINT_IMAGES": ("bio->bio:1", "suffix_profiles", {"bio": "suffix-1", "jetson": "suffix-2"}),
    "SPAWNER_CONSTRAINT_WITH_GPUS": ("ml->1", "suffix_profiles",
        {"jetson": "suffix-1", "ml": "suffix-2", "quant": "suffix-3"}),
    "AUTH_ADMIN_USER": ("ann,bob", "admin_users", ("ann", "bob")),
    "AUTH_CHECK_COMMON_PASSWORD": ("ok", "signup.check_common_password", True),
    "AUTH_MINIMUM_PASSWORD_LENGTH": ("12", "signup.minimum_password_length", 12),
    "AUTH_ALLOWED_FAILED_LOGINS": ("4", "signup.allowed_failed_logins", 4),
    "AUTH_SECONDS_BEFORE_NEXT_TRY": ("5", "signup.seconds_before_next_try", 5),
    "AUTH_ENABLE_SIGNUP": ("False", "signup.enabled", False),
}  # fmt: skip
CIFS = {
    "SPAWNER_PERSISTENCE_VOLUME_TYPE": "cifs",
    "SPAWNER_PERSISTENCE_CIFS_HOST": "nas",
    "SPAWNER_PERSISTENCE_CIFS_DEVICE": "//nas/homes",
}
# What else these need, and what they then do.
BESIDE: dict[str, dict[str, str]] = {
    "SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME": {"SPAWNER_PERSISTENCE_VOLUME_TYPE": "local"},
    "SPAWNER_PERSISTENCE_CIFS_HOST": CIFS,
    "SPAWNER_PERSISTENCE_CIFS_DEVICE": CIFS,
    "SPAWNER_PERSISTENCE_CIFS_OPTS": CIFS,
    "AUTH_OPEN_SIGNUP": {"SPAWNER_CONSTRAINT_WITH_GPUS": ""},
}
HONOURED_BESIDE: dict[str, tuple[str, str, t.Any]] = {
    "SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME": ("of-{username}", "homes.volume_name", "of-{username}"),
    "SPAWNER_PERSISTENCE_CIFS_HOST": ("nas2", "homes.nfs_host", "nas2"),
    "SPAWNER_PERSISTENCE_CIFS_DEVICE": ("//nas/x", "homes.path", "//nas/x"),
    "SPAWNER_PERSISTENCE_CIFS_OPTS": ("vers=3", "homes.nfs_options", "vers=3"),
    "AUTH_OPEN_SIGNUP": ("True", "signup.open", True),
}
REFUSED = {
    "PROXY_SHOULD_START": ("True", "this image has no proxy"),
    "HUB_INTERNAL_SSL_PATH": ("/certs", "make the network with --opt encrypted"),
}
WARNED = {
    "CONFIGPROXY_AUTH_TOKEN": ("abc123", "make it the secret proxy_token"),
    "HUB_PORT": ("9000", "the proxy's service"),
    "HUB_SSL_KEY": ("/key", "NOT encrypted"),
    "HUB_SSL_CERT": ("/cert", "NOT encrypted"),
    "SPAWNER_NOTEBOOK_DIR": ("/home/x", "it is /home/jovyan/work"),
    "SPAWNER_PULL_POLICY": ("never", "each node pulls what it lacks"),
    "SPAWNER_REMOVE": ("False", "always removed"),
    # Beyond the table: what is honoured and unwise, and what is not known.
    "HUB_DB_URL": ("postgresql://hub:s3cret@db/hub", "the secret db_password"),
    "SPAWNER_PERSISTENCE_NFS_OPTS": ("rw,soft", "write hard"),
    "SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME": ("of-{username}", "names local volumes only"),
    "SPAWNER_NOTEBOK_IMAGE": ("x", "is no variable of this image"),
}


def shown(settings: Settings, path: str) -> t.Any:
    """Look up what a path of HONOURED names."""
    found: t.Any = {"profile": settings.profiles[0], **vars(settings)}
    for key in path.split("."):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    return found


@pytest.mark.parametrize("name", [*HONOURED, *HONOURED_BESIDE])
def test_it_is_honoured(name: str) -> None:
    value, path, wanted = {**HONOURED, **HONOURED_BESIDE}[name]
    around = {**STACK, **BESIDE.get(name, {})}
    assert shown(seed_settings({**around, name: value}), path) == wanted
    try:
        assert shown(seed_settings(around), path) != wanted
    except SettingsError as error:
        assert name in str(error)  # noqa: PT017 - without it nothing works


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    value, words = REFUSED[name]
    with pytest.raises(SettingsError, match=f"^{name}: .*{words}"):
        seed_settings({**STACK, name: value})


@pytest.mark.parametrize("name", WARNED)
def test_it_is_warned_about(name: str) -> None:
    value, words = WARNED[name]
    (warning,) = [each for each in seed_settings({**STACK, name: value}).warnings if each.startswith(f"{name}: ")]
    assert words in warning
    assert "s3cret" not in warning
    assert "abc123" not in warning


def test_none_is_forgotten() -> None:
    known = {*seed._KNOWN, *seed._MEANINGLESS, "CONFIGPROXY_AUTH_TOKEN"}
    assert known == {*HONOURED, *HONOURED_BESIDE, *REFUSED, *WARNED} - {"SPAWNER_NOTEBOK_IMAGE"}
    assert len(known) == 55


def test_the_seeds_own_stack_file_is_warned_about_its_open_token_alone() -> None:
    assert [each.partition(":")[0] for each in seed_settings(STACK).warnings] == ["CONFIGPROXY_AUTH_TOKEN"]


def test_g_the_urls_password_is_neither_in_the_settings_nor_in_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MEMORY_DIR", str(tmp_path))
    environ = {**STACK, "HUB_DB_URL": "postgresql://postgres:p%40ss@db/jupyterhub"}
    for name, value in {**environ, "HUB_COOKIE_SECRET_FILE": str(tmp_path / "cookie")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGPASSFILE", "")
    config = Config()
    configure(config)
    assert config.JupyterHub.db_url == "postgresql+psycopg://postgres@db/jupyterhub"
    (passfile,) = tmp_path.glob("*/pgpass")
    assert passfile.read_text() == "*:*:*:*:p@ss\n"
    assert "p@ss" not in str(seed_settings(environ))
    # The others reach JupyterHub as well.
    assert config.JupyterHub.init_spawners_timeout == 60
    assert config.SwarmhubSpawner.concurrent_creations == 20
    assert config.SwarmhubProxy.auth_token == "abc123"


def test_u_the_first_administrators_password_is_in_a_file_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "admin_password"
    password = seed.first_password(path)
    assert len(password) >= 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seed.first_password(path) == password


def test_q_cards_by_a_name_and_an_open_sign_up_do_not_go_together() -> None:
    with pytest.raises(SettingsError, match=r"suffix_profiles\.jetson: gives cards to whoever signs in"):
        seed_settings({**STACK, "AUTH_OPEN_SIGNUP": "True"})
