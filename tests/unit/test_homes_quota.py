"""Projects and limits of homes. XFS is stood in for: what it keeps by inode is kept by inode here."""

from __future__ import annotations

import importlib.util
import os
import typing as t
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/nfs_server/files/homes_quota.py"
spec = importlib.util.spec_from_file_location("homes_quota", SCRIPT)
assert spec is not None
assert spec.loader is not None
quota = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quota)

NEW_EXTENT = 0x80000000  # a flag of XFS that must survive


class Inodes:
    """Attributes by inode, as XFS has them."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[int, ...]] = {}
        self.writes = 0

    def ioctl(self, place: int, request: int, argument: bytes) -> bytes:
        inode = os.fstat(place).st_ino
        if request == quota.FS_IOC_FSSETXATTR:
            self.kept[inode] = quota.FSXATTR.unpack(argument)
            self.writes += 1
        return t.cast(bytes, quota.FSXATTR.pack(*self.kept.get(inode, (NEW_EXTENT, 7, 0, 0, 0))))

    def of(self, path: Path) -> tuple[int, int]:
        """Return flags and project."""
        kept = self.kept.get(path.stat().st_ino, (NEW_EXTENT, 7, 0, 0, 0))
        return kept[0], kept[3]


@pytest.fixture
def inodes(monkeypatch: pytest.MonkeyPatch) -> Inodes:
    found = Inodes()
    monkeypatch.setattr(quota.fcntl, "ioctl", found.ioctl)
    return found


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    directory = tmp_path / "homes"
    for name in ("alice", "bob"):
        (directory / name).mkdir(parents=True)
    return directory


def test_each_home_has_a_project_of_its_own_and_keeps_it(homes: Path, inodes: Inodes) -> None:
    first = quota.settle(homes)
    assert len(set(first.values())) == 2
    assert min(first.values()) >= quota.FIRST
    (homes / "aaron").mkdir()
    again = quota.settle(homes)
    assert {name: again[name] for name in first} == first
    assert again["aaron"] not in first.values()


def test_nothing_is_written_where_nothing_is_new(homes: Path, inodes: Inodes) -> None:
    quota.settle(homes)
    writes = inodes.writes
    quota.settle(homes)
    assert inodes.writes == writes


def test_what_was_in_a_home_already_is_counted_and_directories_hand_on(homes: Path, inodes: Inodes) -> None:
    deep = homes / "alice" / "deep"
    deep.mkdir()
    (deep / "file").touch()
    os.mkfifo(deep / "pipe")
    outside = homes.parent / "outside"
    outside.touch()
    (deep / "link").symlink_to(outside)
    project = quota.settle(homes)["alice"]
    assert inodes.of(deep / "file") == (NEW_EXTENT, project)
    assert inodes.of(deep) == (NEW_EXTENT | quota.FS_XFLAG_PROJINHERIT, project)
    assert inodes.of(homes / "alice") == inodes.of(deep)
    assert inodes.of(outside)[1] == inodes.of(deep / "pipe")[1] == inodes.of(homes)[1] == 0
    assert inodes.kept[deep.stat().st_ino][1] == 7


def test_a_run_that_ended_half_way_is_done_again(homes: Path, inodes: Inodes, monkeypatch: pytest.MonkeyPatch) -> None:
    (homes / "alice" / "file").touch()
    put = quota.put

    def ends(path: Path, project: int) -> None:
        if path.parent == homes:
            raise KeyboardInterrupt
        put(path, project)

    with monkeypatch.context() as patch:
        patch.setattr(quota, "put", ends)
        with pytest.raises(KeyboardInterrupt):
            quota.settle(homes)
    assert inodes.of(homes / "alice")[1] == 0
    (homes / "alice" / "later").touch()
    project = quota.settle(homes)["alice"]
    assert inodes.of(homes / "alice" / "file")[1] == inodes.of(homes / "alice" / "later")[1] == project


def test_a_copy_that_brought_its_project_along_gets_another(homes: Path, inodes: Inodes) -> None:
    quota.settle(homes)
    copy = homes / "carol"
    copy.mkdir()
    inodes.kept[copy.stat().st_ino] = inodes.kept[(homes / "alice").stat().st_ino]
    assert len(set(quota.settle(homes).values())) == 3


def test_links_and_files_beside_the_homes_are_no_homes(homes: Path, inodes: Inodes) -> None:
    (homes / "link").symlink_to(homes / "alice")
    (homes / "file").touch()
    assert set(quota.settle(homes)) == {"alice", "bob"}


def test_a_file_that_is_gone_meanwhile_is_no_matter_and_one_that_is_refused_is(
    homes: Path, inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota.os, "walk", lambda home, topdown: [(str(home), [], ["gone"])])
    quota.settle(homes)

    def refuse(*_: t.Any) -> bytes:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(quota.fcntl, "ioctl", refuse)
    with pytest.raises(OSError, match="not supported"):
        quota.settle(homes)


@pytest.mark.parametrize("size", ["50G", "0"])
def test_all_limits_are_set_in_one_call_on_the_file_system(
    homes: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(quota.subprocess, "run", lambda command, check: calls.append(command))
    monkeypatch.setattr(Path, "is_mount", lambda self: self == homes.parent)
    quota.limit(homes, {"alice": 1000000, "bob": 1000001}, size)
    one, two = (f"limit -p bhard={size.lower()} {project}" for project in (1000000, 1000001))
    assert calls == [["xfs_quota", "-x", "-c", one, "-c", two, str(homes.parent)]]
    quota.limit(homes, {}, size)
    assert len(calls) == 1


def test_homes_that_come_while_it_works_are_taken_along(
    homes: Path, inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited: list[set[str]] = []

    def limit(directory: Path, projects: dict[str, int], size: str) -> None:
        limited.append(set(projects))
        (homes / "carol").mkdir(exist_ok=True)

    monkeypatch.setattr(quota, "limit", limit)
    quota.main(homes, "50G")
    assert limited == [{"alice", "bob"}, {"alice", "bob", "carol"}]
