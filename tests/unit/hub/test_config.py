"""The pieces of JupyterHub's configuration that a running hub does not show."""

from __future__ import annotations

import dataclasses
import logging
import stat
import typing as t
from pathlib import Path

import pytest
from conftest import ROOT
from jupyterhub import orm
from swarmhub_hub import database
from swarmhub_hub.accounts import SwarmhubAuthenticator
from swarmhub_hub.config import configure
from swarmhub_hub.settings import Folder, Settings, SettingsError
from traitlets.config import Config


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    for name, secret in {"proxy_token": "p", "cookie_secret": "ab" * 32, "crypt_key": "cd" * 32}.items():
        (directory / name).write_text(secret)
    return directory


def configured(settings: Settings, secrets: Path) -> t.Any:
    config = Config()
    configure(config, settings, secrets)
    return config


def test_v_notebooks_outlive_the_hub_and_waiting_locks_out_nobody(settings: Settings, secrets: Path) -> None:
    hub = configured(settings, secrets).JupyterHub
    assert (hub.cleanup_servers, hub.concurrent_spawn_limit, hub.allow_named_servers) == (False, 0, False)


def test_groups_that_open_a_profile_or_a_folder_or_have_a_limit_are_there_to_be_filled(
    settings: Settings, secrets: Path
) -> None:
    homes = dataclasses.replace(settings.homes, shared_folders=(Folder("team", ("vision",)),))
    settings = dataclasses.replace(
        settings, homes=homes, group_gpu_limits={"students": 2}, group_gpu_hours={"guests": 9}
    )
    groups = configured(settings, secrets).JupyterHub.load_groups
    assert list(groups) == ["gpu-users", "guests", "students", "vision"]


def test_h_cookies_are_signed_by_a_secret_of_the_cluster_on_whatever_manager(settings: Settings, secrets: Path) -> None:
    hub = configured(settings, secrets).JupyterHub
    assert hub.cookie_secret == bytes.fromhex("ab" * 32)
    assert "cookie_secret_file" not in hub


def test_j_no_package_has_a_hole_that_is_known() -> None:
    """CVE-2024-28233, CVE-2024-41942, CVE-2026-33709, CVE-2026-40864, CVE-2026-54338, GHSA-c4gm, GHSA-hfgr."""
    lock = (ROOT / "images" / "hub" / "requirements.lock").read_text()
    pins = dict(line.split("==") for line in lock.splitlines() if "==" in line and not line.lstrip().startswith("#"))
    least = {"jupyterhub": (5, 5, 1), "dockerspawner": (13, 0, 0)}
    assert {name: tuple(map(int, pins[name].split("."))) >= version for name, version in least.items()} == {
        "jupyterhub": True,
        "dockerspawner": True,
    }


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("proxy_token", None, "the secret proxy_token is missing"),
        ("proxy_token", " \n", "the secret proxy_token is an empty file"),
        ("cookie_secret", "xyz", "the secret cookie_secret must be 64 hex digits"),
        ("crypt_key", "abcd", "the secret crypt_key must be 64 hex digits"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(
    settings: Settings, secrets: Path, name: str, content: str | None, words: str
) -> None:
    if content is None:
        (secrets / name).unlink()
    else:
        (secrets / name).write_text(content)
    with pytest.raises(SettingsError, match=words):
        configured(settings, secrets)


# --- the database's password ----------------------------------------------------------------------------------------


def test_postgres_reads_its_password_from_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MEMORY_DIR", str(tmp_path))
    environ: dict[str, str] = {}
    url = "postgresql+psycopg://hub@db:5432/hub"
    assert database.give_password(url, "a:b\\c", environ) == url
    path = Path(environ["PGPASSFILE"])
    assert path.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_mysql_reads_its_password_from_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MEMORY_DIR", str(tmp_path))
    url = database.give_password("mysql+pymysql://hub@db:3306/hub", "s3cret", {})
    assert "s3cret" not in url
    assert url.startswith("mysql+pymysql://hub@db:3306/hub?read_default_file=")


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="db_password") as caught:
        database.give_password("postgresql://hub:s3cret@db/hub", "", {})
    assert "s3cret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_named(caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql+psycopg://hub@127.0.0.1:9/hub"
    with pytest.raises(TimeoutError, match=r"postgresql\+psycopg://hub@127.0.0.1:9/hub did not answer"):
        database.wait_for_database(url, {}, 0, logging.getLogger("test"))


# --- accounts -------------------------------------------------------------------------------------------------------


def authenticator(db: t.Any, **changes: t.Any) -> SwarmhubAuthenticator:
    settings = {
        "accounts": {"admin": "first-password", "probe": "p1"},
        "kept_in_step": {"probe"},
        "admin_users": {"admin", "boss"},
    }
    return SwarmhubAuthenticator(_deprecated_db_session=db, **{**settings, **changes})


@pytest.fixture
def db() -> t.Any:
    return orm.new_session_factory("sqlite:///:memory:")()


def test_accounts_are_there_and_authorised(db: t.Any) -> None:
    account = authenticator(db).get_user("admin")
    assert account.is_authorized
    assert account.is_valid_password("first-password")


def test_u_who_signs_up_under_an_administrators_name_is_not_let_in(db: t.Any) -> None:
    created = authenticator(db).create_user("boss", "long-enough")
    assert created is not None
    assert not created.is_authorized


def test_a_stranger_who_was_first_loses_the_name(db: t.Any) -> None:
    authenticator(db, accounts={}).create_user("admin", "strangers-password")
    account = authenticator(db).get_user("admin")
    assert account.is_authorized
    assert account.is_valid_password("first-password")
    assert not account.is_valid_password("strangers-password")


def test_the_administrators_own_password_stays_and_the_probes_follows_its_secret(db: t.Any) -> None:
    authenticator(db).change_password("admin", "my-own-password")
    again = authenticator(db, accounts={"admin": "first-password", "probe": "p2"})
    assert again.get_user("admin").is_valid_password("my-own-password")
    assert again.get_user("probe").is_valid_password("p2")


def test_q_open_signup_gives_no_class_of_machines(db: t.Any) -> None:
    open_door = authenticator(db, open_signup=True, approved_suffixes={"gpu"})
    plain, greedy = (open_door.create_user(name, "long-enough") for name in ("carol", "carol-gpu"))
    assert plain is not None
    assert plain.is_authorized
    assert greedy is not None
    assert not greedy.is_authorized
