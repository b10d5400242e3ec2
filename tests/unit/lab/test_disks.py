"""The disks of hosts with kernels of their own: named by what they are made of, made once, whole or not at all."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest
from labkit import disks, kernels, state
from labkit.layouts import LAYOUTS, Host
from labkit.run import LabError
from labkit.state import State

HOSTS = {host.name: host for host in LAYOUTS["kernel"].hosts}
REFERENCES = {name: f"localhost:5000/swarmhub/{name}:1" for name in ("hub", "proxy", "notebook")}
DAY = 86400


class Workshop:
    """What disks are made of, and the places where one has been made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.version = "6.1.1"
        self.root = "abc"
        self.made: list[Path] = []
        monkeypatch.setattr(disks, "kernel_version", lambda: self.version)
        monkeypatch.setattr(disks, "root_archive", lambda kind, _mirror: Path(f"/base/{kind}-{self.root}.tar"))
        monkeypatch.setattr(disks, "_make", self._make)

    def _make(self, _state: State, _archive: Path, _references: list[str], _fstab: str, path: Path) -> None:
        path.touch()
        self.made.append(path)

    def disk(self, host: str, references: dict[str, str] = REFERENCES) -> Path:
        return disks.of(State(), HOSTS[host], references, "http://mirror.test/debian")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(state, "CACHE", tmp_path)
    monkeypatch.setattr(disks, "FOLDER", tmp_path / "kernel")
    return Workshop(monkeypatch)


def test_a_disk_is_made_once(workshop: Workshop) -> None:
    assert workshop.disk("mgr1") == workshop.disk("mgr1")
    assert len(workshop.made) == 1


def new_kernel(workshop: Workshop) -> None:
    workshop.version = "6.1.2"


def new_root(workshop: Workshop) -> None:
    workshop.root = "def"


@pytest.mark.parametrize("change", [new_kernel, new_root])
@pytest.mark.parametrize("host", HOSTS)
def test_kernel_and_root_change_every_disk(workshop: Workshop, host: str, change: t.Callable[[Workshop], None]) -> None:
    before = workshop.disk(host)
    change(workshop)
    assert workshop.disk(host) != before


@pytest.mark.parametrize(("image", "changed"), [("hub", {"mgr1"}), ("proxy", {"mgr1"}), ("notebook", {"cpu1", "gpu1"})])
def test_an_image_changes_the_disks_that_hold_it(workshop: Workshop, image: str, changed: set[str]) -> None:
    other = REFERENCES | {image: f"localhost:5000/swarmhub/{image}:2"}
    assert {host for host in HOSTS if workshop.disk(host) != workshop.disk(host, other)} == changed


def test_disks_that_no_lab_has_used_go_and_so_does_what_was_half_made(workshop: Workshop) -> None:
    old, other = workshop.disk("gpu1"), workshop.disk("mgr1")
    for path in (old, other):
        os.utime(path.with_suffix(".used"), (time.time() - 8 * DAY,) * 2)
    tree = disks.FOLDER / ".part-trixie-worker-0123"
    (tree / "etc").mkdir(parents=True)
    packed = disks.FOLDER / ".part-trixie-worker-0123.img"
    packed.touch()
    somebody_elses = disks.FOLDER / ".part-trixie-manager-0123.img"
    somebody_elses.touch()
    workshop.version = "6.1.2"
    new = workshop.disk("gpu1")
    assert [path.exists() for path in (old, tree, packed, new)] == [False, False, False, True]
    assert other.exists()
    assert somebody_elses.exists()


def test_a_host_stays_on_the_disk_that_it_was_made_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    layout: tuple[Host, ...] = (HOSTS["cpu1"],)
    kernels._refuse_other_disks(layout, {"cpu1": tmp_path / "one.img"})
    (tmp_path / "cpu1").mkdir()
    (tmp_path / "cpu1" / "disk").symlink_to(tmp_path / "one.img")
    kernels._refuse_other_disks(layout, {"cpu1": tmp_path / "one.img"})
    with pytest.raises(LabError, match=r"cpu1 runs on an older disk: .*`lab.py down`"):
        kernels._refuse_other_disks(layout, {"cpu1": tmp_path / "two.img"})
