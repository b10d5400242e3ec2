"""Homes: made with the right owner, mounted with the right type."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from swarmhub_hub import skeleton
from swarmhub_hub.homes import STALE, HomeError, folders_of, make_home, mounts
from swarmhub_hub.settings import Folder, Homes

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of directories")


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    return Homes(driver="bind", path="/srv/homes", mount=str(tmp_path))


@root_only
def test_a_home_belongs_to_the_notebooks_user_whatever_the_umask(homes: Homes, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_home(homes, "alice")
    finally:
        os.umask(before)
    status = (tmp_path / "alice").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 100, 0o750)


@root_only
def test_n_a_home_of_the_seed_is_mended(homes: Homes, tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir(mode=766)
    make_home(homes, "bob")
    status = (tmp_path / "bob").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (1000, 0o750)


@root_only
def test_a_new_home_begins_with_the_skeleton_and_an_old_one_stays(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        {"path": "README.md", "executable": False, "content": base64.b64encode(b"hello").decode()},
        {"path": "bin/deep/run", "executable": True, "content": base64.b64encode(b"#!/bin/sh").decode()},
    ]
    config = tmp_path / "skeleton.json"
    config.write_text(json.dumps(files))
    monkeypatch.setattr(skeleton, "SKELETON", config)
    (tmp_path / "old").mkdir()
    for name in ("old", "new"):
        make_home(homes, name)
    assert list((tmp_path / "old").iterdir()) == []
    assert (tmp_path / "new" / "README.md").read_text() == "hello"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert modes == {"README.md": 0o644, "bin": 0o755, "deep": 0o755, "run": 0o755}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "new").rglob("*")} == {(1000, 100)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "skeleton.json"]


def test_a_skeleton_that_cannot_be_written_leaves_no_home(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(skeleton, "fill", full)
    with pytest.raises(HomeError, match="No space left"):
        make_home(homes, "alice")
    assert list(tmp_path.iterdir()) == []


@root_only
def test_what_a_killed_hub_left_goes_when_the_next_makes_a_home(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = (
        "import os, sys; from pathlib import Path; from swarmhub_hub import homes, settings, skeleton;"
        "skeleton.fill = lambda new: ((new / 'half').write_text('a'), os._exit(9));"
        "homes.make_home(settings.Homes(driver='bind', path='/srv/homes', mount=sys.argv[1]), 'alice')"
    )
    killed = subprocess.run(
        [sys.executable, "-c", kill, tmp_path], check=False, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert killed.returncode == 9
    [left] = tmp_path.iterdir()
    hours_ago = time.time() - 2 * STALE
    os.utime(left, (hours_ago, hours_ago))
    fill = skeleton.fill

    def meanwhile(new: Path) -> None:
        monkeypatch.setattr(skeleton, "fill", fill)
        make_home(homes, "bob")
        assert new.is_dir(), "another start leaves it alone"
        fill(new)

    monkeypatch.setattr(skeleton, "fill", meanwhile)
    make_home(homes, "alice")
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alice", "bob"]


def test_a_link_is_not_followed(homes: Homes, tmp_path: Path) -> None:
    (tmp_path / "eve").symlink_to("/etc")
    with pytest.raises(HomeError, match="is not a directory"):
        make_home(homes, "eve")


def test_homes_that_are_not_mounted(homes: Homes, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="mount the homes into the hub"):
        make_home(dataclasses.replace(homes, mount=str(tmp_path / "none")), "alice")


DATA, TEAM = Folder("data", read_only=True), Folder("team_1", groups=("vision", "audio"))
NFS = "rw,hard,nfsvers=4.2"


def shared(homes: Homes) -> Homes:
    return dataclasses.replace(homes, shared_path="/srv/shared", shared_folders=(DATA, TEAM))


def test_a_folder_is_seen_by_members_of_one_of_its_groups(homes: Homes) -> None:
    homes = shared(homes)
    assert folders_of(homes, ()) == [DATA]
    assert folders_of(homes, {"audio", "other"}) == [DATA, TEAM]
    assert folders_of(homes, {"other"}) == [DATA]


@root_only
def test_places_for_shared_folders_are_the_users_own(homes: Homes, tmp_path: Path) -> None:
    make_home(shared(homes), "alice", [DATA, TEAM])
    for place in ("shared", "shared/data", "shared/team_1"):
        status = (tmp_path / "alice" / place).stat()
        assert (status.st_uid, status.st_gid) == (1000, 100)


@root_only
def test_who_left_the_group_loses_the_place_but_nothing_of_their_own(homes: Homes, tmp_path: Path) -> None:
    homes = shared(homes)
    make_home(homes, "alice", [DATA, TEAM])
    make_home(homes, "alice", [DATA])
    assert [each.name for each in (tmp_path / "alice/shared").iterdir()] == ["data"]
    own = tmp_path / "alice/shared/team_1"
    own.mkdir()
    (own / "mine").touch()
    make_home(homes, "alice", [DATA])
    assert (own / "mine").exists()


def test_without_shared_folders_nothing_is_made_in_a_home(homes: Homes, tmp_path: Path) -> None:
    home = tmp_path / "alice"
    home.mkdir(mode=0o750)
    if os.geteuid() == 0:
        make_home(homes, "alice")
    assert list(home.iterdir()) == []


@root_only
@pytest.mark.parametrize("place", ["shared", "shared/data"])
@pytest.mark.parametrize("how", ["link", "file"])
def test_a_users_own_link_or_file_in_the_way_is_told_and_never_followed(
    homes: Homes, tmp_path: Path, place: str, how: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    at = tmp_path / "alice" / place
    at.parent.mkdir(parents=True)
    at.symlink_to(elsewhere) if how == "link" else at.touch()
    with pytest.raises(
        HomeError, match=r"alice/shared cannot take the shared folders \(.*: Not a directory\): move away"
    ):
        make_home(shared(homes), "alice", [DATA])
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == os.geteuid()


def test_s_the_whole_home_is_kept(homes: Homes) -> None:
    assert mounts(homes, "alice", "alice")[0]["Target"] == "/home/jovyan"


def test_bind_is_a_bind_of_each_directory(homes: Homes) -> None:
    assert mounts(shared(homes), "alice", "alice", [DATA]) == [
        {"Type": "bind", "Source": "/srv/homes/alice", "Target": "/home/jovyan"},
        {"Type": "bind", "Source": "/srv/shared/data", "Target": "/home/jovyan/shared/data", "ReadOnly": True},
    ]


def nfs(**changes: str) -> Homes:
    return shared(Homes("nfs4", **{"path": "/export/homes", "nfs_host": "10.0.0.9", "nfs_options": NFS, **changes}))


def test_nfs_is_a_volume_that_copies_nothing_into_the_share() -> None:
    home, data, team = mounts(nfs(), "alice", "alice", [DATA, TEAM])
    assert {each["Type"] for each in (home, data, team)} == {"volume"}
    assert all(each["VolumeOptions"]["NoCopy"] for each in (home, data, team))
    options = [each["VolumeOptions"]["DriverConfig"]["Options"] for each in (home, data, team)]
    assert [each["device"] for each in options] == [":/export/homes/alice", ":/srv/shared/data", ":/srv/shared/team_1"]
    # One file system's mounts on a node share the first one's options, so a home must never come after a "ro".
    assert {each["o"] for each in options} == {f"addr=10.0.0.9,{NFS}"}
    assert [each.get("ReadOnly", False) for each in (home, data, team)] == [False, True, False]


@pytest.mark.parametrize("change", [{"nfs_host": "10.0.0.8"}, {"nfs_options": "rw,soft"}, {"path": "/other/homes"}])
def test_another_server_path_or_option_is_another_volume(change: dict[str, str]) -> None:
    one, two = (mounts(homes, "alice", "alice", [TEAM]) for homes in (nfs(), nfs(**change)))
    assert one[0]["Source"] != two[0]["Source"]
    # The shared folder's path is one of its own.
    assert (one[1]["Source"] != two[1]["Source"]) is ("path" not in change)


def test_a_home_and_a_folder_of_one_name_are_two_volumes() -> None:
    home, folder = mounts(nfs(), "data", "data", [DATA])
    assert home["Source"].startswith("swarmhub-home-data-")
    assert folder["Source"].startswith("swarmhub-shared-data-")


def test_names_stay_short_however_long_a_users_name_is() -> None:
    long = Folder("f" * 40)
    names = [each["Source"] for each in mounts(nfs(), "u" * 200, "u", [long])]
    assert max(map(len, names)) <= 100
