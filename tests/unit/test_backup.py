"""What a backup is made of and says; restic and PostgreSQL themselves are run by tests/e2e/test_backup.py."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import owned_files
import pytest
from ansible.module_utils.swarmhub import backup, backup_controller
from ansible.module_utils.swarmhub.backup import BackupError, Repository
from ansible.module_utils.swarmhub.backup_findings import backup_host
from ansible.module_utils.swarmhub.findings import Finding
from ansible.module_utils.testing import patch_module_args
from rendering import ROOT, render
from test_inventory import SINGLE, VARIABLES, findings, only
from test_looks import findings as look_findings

DUMP = r"""
-- Dumped from database version 17.5 (Debian 17.5-1)
COPY public.alembic_version (version_num) FROM stdin;
4621fec11365
\.
COPY public."groups" (id, name) FROM stdin;
\.
COPY public.users (id, name) FROM stdin;
1	admin
2	line\nbreak COPY public.spawners (id) FROM stdin;
\.
"""
NODES = [
    {
        "Description": {"Hostname": "worker-a"},
        "Spec": {"Role": "worker", "Availability": "pause", "Labels": {"rack": "a"}},
    }
]


def test_a_dump_tells_version_schema_and_rows() -> None:
    assert backup.read_dump(DUMP.splitlines()) == {
        "postgres": "17.5",
        "schema": "4621fec11365",
        "rows": {"alembic_version": 1, "groups": 0, "users": 2},
    }


# --- restic, called --------------------------------------------------------------------------------------------------


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[int], Path]:
    """A program of that name that writes down how it was called, and ends with an exit code."""

    def make(code: int) -> Path:
        program, noted = tmp_path / "restic", tmp_path / "noted"
        program.write_text(f'#!/bin/sh\n(echo "$@"; cat; echo; env) > {noted}\necho its own words >&2\nexit {code}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return noted

    return make


def test_the_key_is_in_no_argument_and_no_variable(restic: t.Callable[[int], Path]) -> None:
    noted = restic(0)
    Repository("/mnt/r", "the-key", "lab", {"AWS_SECRET_ACCESS_KEY": "the-credential"}).run("snapshots")
    arguments, key, *environment = noted.read_text().splitlines()
    assert key == "the-key"
    assert "the-" not in arguments
    assert {"RESTIC_REPOSITORY=/mnt/r", "AWS_SECRET_ACCESS_KEY=the-credential"} <= set(environment)
    assert not [line for line in environment if "the-key" in line]


def test_who_only_reads_leaves_no_lock_and_no_cache(restic: t.Callable[[int], Path]) -> None:
    noted = restic(0)
    Repository("/mnt/r", "k", "lab", only_read=True).run("snapshots")
    assert {"--no-lock", "--no-cache"} <= set(noted.read_text().splitlines()[0].split())


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "its own words"), (10, "no repository at /mnt/r"), (11, "locked"), (12, "secrets/backup_key")],
)
def test_what_restic_refuses_is_said_with_a_cure(restic: t.Callable[[int], Path], code: int, words: str) -> None:
    restic(code)
    with pytest.raises(BackupError, match=words):
        Repository("/mnt/r", "k", "lab").run("snapshots")


# --- the controller's part -------------------------------------------------------------------------------------------


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    directory = tmp_path / "inventory"
    for name in ("hosts.yml", "group_vars/all.yml", "secrets/crypt_key", ".restored/hosts.yml", ".git/config"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"{name} as it was")
    return directory


def collected(inventory: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(
        backup_controller.collect(str(inventory), {"crypt_key": "c", "backup_key": "k"}, NODES)
    )
    return found


def test_the_controller_gives_inventory_secrets_and_nodes_but_not_the_key(inventory: Path) -> None:
    found = collected(inventory)
    assert found["inventory"].keys() == {"hosts.yml", "group_vars/all.yml"}
    assert found["secrets"] == {"crypt_key": "c"}
    assert found["nodes"] == {"worker-a": {"role": "worker", "availability": "pause", "labels": {"rack": "a"}}}


def test_what_is_no_text_is_taken_along_and_put_back(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, binary = inventory / "skeleton/picture.png", b"\x89PNG\r\n\0\xff"
    picture.parent.mkdir()
    picture.write_bytes(binary)
    cluster = collected(inventory)
    assert cluster["inventory"].keys() == {"hosts.yml", "group_vars/all.yml"}
    assert backup_controller.put_back(str(inventory), {**cluster, "secrets": {}})["files"] == []
    picture.write_bytes(binary + b"new")
    wanted = backup_controller.put_back(str(inventory), {**cluster, "secrets": {}})
    for changed in (True, False):
        with patch_module_args(wanted), pytest.raises(SystemExit):
            owned_files.main()
        assert json.loads(capsys.readouterr().out)["changed"] is changed
    assert (inventory / ".restored/skeleton/picture.png").read_bytes() == binary
    assert picture.read_bytes() == binary + b"new"


def test_what_is_too_large_for_the_controllers_part_is_refused(inventory: Path) -> None:
    with (inventory / "driver.run").open("wb") as stream:
        stream.truncate(backup_controller.LARGEST + 1)
    with pytest.raises(ValueError, match=r"driver\.run has more than 10 MB: keep it outside"):
        collected(inventory)


def test_a_backup_of_before_binaries_were_taken_along_is_put_back(inventory: Path) -> None:
    cluster = {"secrets": {}, "inventory": {"hosts.yml": "as it was"}, "nodes": {}}
    [file] = backup_controller.put_back(str(inventory), cluster)["files"]
    assert (file["path"], file["encoding"]) == (f"{inventory}/.restored/hosts.yml", "utf-8")


def test_what_is_missing_or_otherwise_is_put_back_and_the_inventory_in_use_left(inventory: Path) -> None:
    cluster = {**collected(inventory), "secrets": {"crypt_key": "c", "db_password": "d"}}
    (inventory / "hosts.yml").write_text("new addresses")
    found = backup_controller.put_back(str(inventory), cluster)
    assert {file["path"].removeprefix(f"{inventory}/"): file["secret_content"] for file in found["files"]} == {
        "secrets/db_password": "d",
        ".restored/hosts.yml": "hosts.yml as it was",
    }
    assert {file["mode"] for file in found["files"]} == {"0600"}
    assert {folder["mode"] for folder in found["directories"]} == {"0700"}


def test_other_secrets_are_refused_and_a_line_end_is_no_difference() -> None:
    cluster = {"secrets": {"crypt_key": "c\n", "db_password": "d"}}
    assert backup_controller.other_secrets("/i", {"crypt_key": "c", "backup_key": "k"}, cluster) == ""
    assert backup_controller.other_secrets("/i", {"crypt_key": "x"}, cluster).startswith("crypt_key in /i/secrets")


def test_a_report_names_nodes_that_are_otherwise_than_they_were() -> None:
    manifest = {
        "time": "2026-11-26T02:30:00+00:00",
        "host": "store",
        "postgres": "17.5",
        "rows": {"users": 3, "api_tokens": 2},
        "parts": {"database.sql": {"bytes": 2048}},
        "folders": {"homes": {"path": "/srv/homes", "entries": 3}},
    }
    nodes = backup_controller.named_nodes(NODES)
    found = {"snapshot": "a" * 64, "bytes": 3 * 2**40, "manifest": manifest, "cluster": {"nodes": nodes}}
    now = {"worker-a": {**nodes["worker-a"], "availability": "active"}}
    lines = backup_controller.report(found, now)
    assert "3.0 TiB" in lines[0]
    assert "database: 2.0 KiB, 3 users, 2 tokens" in lines
    assert lines[-2].startswith("no secrets and no inventory")
    assert lines[-1] == "node worker-a: availability was pause, is active"
    assert backup_controller.report(found, nodes) == lines[:-1]


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB")])
def test_sizes(number: int, text: str) -> None:
    assert backup_controller.size(number) == text


# --- what the user wrote, and the host -------------------------------------------------------------------------------


def test_the_host_with_the_homes_makes_the_backups_or_else_that_with_the_database() -> None:
    assert backup_host({"nfs_server": ["store"], "postgres_server": ["mgr1"]}) == "store"
    assert backup_host({"nfs_server": [], "postgres_server": ["mgr1"]}) == "mgr1"
    assert backup_host({"managers": ["mgr1"]}) == ""


def wrong(**variables: t.Any) -> list[Finding]:
    return findings(**{"backup_repository": "/mnt/backup", **variables})


@pytest.mark.parametrize(
    "repository", ["/mnt/backup", "sftp:backup@host:/srv/r", "rest:https://host:8000/", "s3:host/b"]
)
def test_a_repository_that_restic_takes(repository: str) -> None:
    assert wrong(backup_repository=repository, backup_keep={"daily": "7"}) == []


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"backup_repository": "backups"}, "backup_repository"),
        ({"backup_repository": "rest:https://u:secret@host/"}, "backup_repository"),
        ({"backup_repository": "/srv/swarmhub/homes/backup"}, "backup_repository"),
        ({"backup_schedule": "at night; always"}, "backup_schedule"),
        ({"backup_keep": {"dayly": 7, "daily": 1}}, "backup_keep.dayly"),
        ({"backup_keep": {"daily": "many"}}, "backup_keep.daily"),
        ({"backup_keep": {"daily": 0}}, "backup_keep"),
        ({"backup_environment": {"RESTIC_PASSWORD": "x"}}, "backup_environment.RESTIC_PASSWORD"),
        ({"backup_environment": {"AWS_ACCESS_KEY_ID": 1}}, "backup_environment.AWS_ACCESS_KEY_ID"),
        ({"hub_homes_driver": "nfs4", "nfs_host": "store"}, "backup_homes"),
    ],
)
def test_what_cannot_be_backed_up(variables: dict[str, t.Any], key: str) -> None:
    finding = only(wrong(**variables))
    assert finding.key == key
    assert "secret@" not in str(finding)


def test_without_a_host_of_ours_nobody_makes_backups() -> None:
    url = "postgresql+psycopg://hub@db.example.org:5432/hub"
    assert only(wrong(groups={"postgres_server": []}, hub_db_url=url, hub_db_password="x")).key == "backup_repository"
    assert findings({"postgres_server": []}, hub_db_url=url, hub_db_password="x") == []


def test_another_database_than_postgresql_is_refused() -> None:
    url = "mysql+pymysql://hub@db/hub"
    keys = [finding.what for finding in wrong(groups={"postgres_server": []}, hub_db_url=url)]
    assert "only PostgreSQL is backed up" in keys


def test_a_failed_run_and_an_old_restic_are_told() -> None:
    on = {"backup_repository": "/mnt/backup"}
    failed = {"units": {"swarmhub-backup.service": {"failed": True}}}
    warning = only(look_findings("store", failed, **on))
    assert (warning.host, warning.severity) == ("store", "warning")
    old = {"distribution": {"id": "debian", "version": "12"}, "units": {}}
    assert only(look_findings("store", old, **on)).key == "distribution"
    assert look_findings("store", failed) == []


# --- what the role owns ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    hosts = {"one": {}, "elsewhere": {}}
    groups = {**{group: {"hosts": {"one": None}} for group in SINGLE}, "cpu_workers": {"hosts": hosts}}
    settings = {**VARIABLES, "backup_repository": "/mnt/backup", "swarm_node_address": "10.77.0.11"}
    facts = (
        {"node_state": {"files": {"/etc/swarmhub/backup/repository": None}, "units": {}}},
        {"cluster_secrets_values": {"db_password": "a:b\\c", "backup_key": "k"}, "cluster_images": {"hub": "hub:1"}},
    )
    folder = tmp_path_factory.mktemp("backup")
    shown = {"owned": "{{ backup_owned }}"}
    return render(folder, {"all": {"vars": settings}, **groups}, ("cluster", "backup"), shown, facts)


def test_one_host_has_program_key_and_settings(rendered: dict[str, t.Any]) -> None:
    owned = rendered["one"]["owned"]
    files = {file["path"]: file for file in owned["files"]}
    assert files["/usr/local/sbin/swarmhub-backup"]["content"] == (ROOT / "module_utils/swarmhub/backup.py").read_text()
    secret = {path for path, file in files.items() if file.get("secret")}
    assert {path: files[path]["mode"] for path in secret} == {
        f"/etc/swarmhub/backup/{name}": "0600" for name in ("key", "pgpass", "settings.json")
    }
    assert files["/etc/swarmhub/backup/pgpass"]["content"] == "*:*:*:*:a\\:b\\\\c\n"
    settings = json.loads(files["/etc/swarmhub/backup/settings.json"]["content"])
    assert settings["database"] == "postgresql://jupyterhub@10.77.0.11:5432/jupyterhub"
    assert settings["folders"] == {"homes": "/srv/swarmhub/homes"}
    service = files["/etc/systemd/system/swarmhub-backup.service"]["content"]
    assert "RequiresMountsFor=/srv/swarmhub/homes /mnt/backup\n" in service
    assert owned["facts"]["the repository of the backups has not been opened yet"] is False


def test_elsewhere_it_is_taken_away(rendered: dict[str, t.Any]) -> None:
    owned = rendered["elsewhere"]["owned"]
    assert all(file["absent"] for file in owned["files"])
    assert owned["units"][0]["active"] is False
    assert all(owned["facts"].values())
