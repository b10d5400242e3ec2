"""A leaver's home, put away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT
from swarmhub_hub.archive import put_away

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "images" / "hub")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The homes of ann, who leaves, and of ann.b, who stays."""
    for name in ("ann", "ann.b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text(name)
    (tmp_path / "ann" / "link").symlink_to("/etc/shadow")
    return tmp_path


def test_all_of_it_is_in_one_file_that_only_root_reads(root: Path) -> None:
    assert put_away(root, "ann", look=True) == {"home": True, "archives": []}
    done = put_away(root, "ann")
    (path,) = map(Path, done["archives"])
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        assert sorted(tar.getnames()) == ["ann", "ann/deep", "ann/deep/file", "ann/link"]
        content = tar.extractfile("ann/deep/file")
        assert content
        assert content.read() == b"ann"
        assert tar.getmember("ann/link").issym()
    assert sorted(each.name for each in root.iterdir()) == [".archive", "ann.b"]
    assert put_away(root, "ann") == {"home": False, "archives": done["archives"]}
    assert put_away(root, "ann.b", look=True) == {"home": True, "archives": []}


@pytest.mark.parametrize("step", ["tarfile.open", "shutil.rmtree"])
def test_a_run_that_was_killed_is_mended(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    module, name = step.split(".")
    with monkeypatch.context() as patch:
        patch.setattr({"tarfile": tarfile, "shutil": shutil}[module], name, killed)
        with pytest.raises(KeyboardInterrupt):
            put_away(root, "ann")
    assert not (root / "ann").exists(), "nobody mounts what is being archived"
    done = put_away(root, "ann")
    assert done["home"]
    with tarfile.open(done["archives"][-1]) as tar:
        assert "ann/deep/file" in tar.getnames()
    assert [each.name for each in (root / ".archive").iterdir() if not each.name.startswith("ann.")] == [".lock"]


def test_two_at_once_make_one_whole_archive(root: Path) -> None:
    """A run whose controller was killed goes on in the hub's container, when the next one comes."""
    (root / "ann" / "big").write_bytes(os.urandom(20_000_000))
    program = (
        "import pathlib, sys; from swarmhub_hub.archive import put_away; put_away(pathlib.Path(sys.argv[1]), 'ann')"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, str(root)], env=ENVIRONMENT) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    (path,) = (root / ".archive").glob("ann.*.tar.gz")
    with tarfile.open(path) as tar:
        content = tar.extractfile("ann/big")
        assert content
        assert len(content.read()) == 20_000_000


def test_who_came_back_and_left_again_has_two_even_when_the_first_run_was_killed(root: Path) -> None:
    (root / ".archive").mkdir()
    (root / "ann").rename(root / ".archive" / "leaving-ann")
    (root / "ann").mkdir()
    assert len(put_away(root, "ann")["archives"]) == 2
