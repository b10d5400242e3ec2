"""Homes: made with the right owner, mounted with the right type."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from swarmhub_hub.homes import HomeError, home_mount, make_home
from swarmhub_hub.settings import Homes

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
def test_a_home_of_the_seed_is_mended(homes: Homes, tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir(mode=766)
    make_home(homes, "bob")
    status = (tmp_path / "bob").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (1000, 0o750)


def test_a_link_is_not_followed(homes: Homes, tmp_path: Path) -> None:
    (tmp_path / "eve").symlink_to("/etc")
    with pytest.raises(HomeError, match="is not a directory"):
        make_home(homes, "eve")


def test_homes_that_are_not_mounted(homes: Homes, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="mount the homes into the hub"):
        make_home(dataclasses.replace(homes, mount=str(tmp_path / "none")), "alice")


def test_bind_is_a_bind_of_the_directory(homes: Homes) -> None:
    assert home_mount(homes, "alice", "alice") == {
        "Type": "bind",
        "Source": "/srv/homes/alice",
        "Target": "/home/jovyan",
    }


@pytest.mark.parametrize(("driver", "version"), [("nfs4", "nfsvers=4.2"), ("nfs3", "nfsvers=3")])
def test_nfs_is_a_volume_that_copies_nothing_into_the_share(driver: str, version: str) -> None:
    homes = Homes(driver=driver, path="/export/homes", nfs_host="10.0.0.9")
    mount = home_mount(homes, "alice", "alice")
    options = mount["VolumeOptions"]["DriverConfig"]["Options"]
    assert mount["Type"] == "volume"
    assert mount["VolumeOptions"]["NoCopy"] is True
    assert options["device"] == ":/export/homes/alice"
    assert options["o"].startswith("addr=10.0.0.9,")
    assert version in options["o"]
    assert "soft" not in options["o"]


def test_another_server_is_another_volume() -> None:
    one, two = (home_mount(Homes("nfs4", "/x", nfs_host=host), "a", "a")["Source"] for host in ("10.0.0.1", "10.0.0.2"))
    assert one != two
