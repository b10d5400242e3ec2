"""The tag of an image on the kernel hosts' disks: it changes with all that goes into it, and with nothing else."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from labkit import hub_images

ARGUMENTS = {"BASE": "swarmhub-lab:slim-1", "APT_MIRROR": "http://mirror.test/debian"}


class Tree(t.NamedTuple):
    image: Path
    certificate: Path

    def tag(self, arguments: dict[str, str] = ARGUMENTS) -> str:
        return hub_images._reference("hub", arguments, [self.certificate])


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(hub_images, "REPOSITORY", tmp_path)
    image = tmp_path / "images" / "hub"
    (image / "swarmhub_hub" / "__pycache__").mkdir(parents=True)
    (image / "Dockerfile").write_text("ARG BASE\nFROM $BASE\n")
    (image / "swarmhub_hub" / "queue.py").write_text("SECONDS = 1\n")
    certificate = tmp_path / "one.crt"
    certificate.write_text("a certificate")
    return Tree(image, certificate)


def edit_file(tree: Tree) -> None:
    (tree.image / "swarmhub_hub" / "queue.py").write_text("SECONDS = 2\n")


def rename_file(tree: Tree) -> None:
    (tree.image / "swarmhub_hub" / "queue.py").rename(tree.image / "swarmhub_hub" / "turns.py")


def allow_execution(tree: Tree) -> None:
    (tree.image / "Dockerfile").chmod(0o755)


def add_file(tree: Tree) -> None:
    (tree.image / "swarmhub_hub" / "empty.py").touch()


def renew_certificate(tree: Tree) -> None:
    tree.certificate.write_text("another certificate")


@pytest.mark.parametrize("change", [edit_file, rename_file, allow_execution, add_file, renew_certificate])
def test_what_goes_into_an_image_changes_its_tag(tree: Tree, change: t.Callable[[Tree], None]) -> None:
    before = tree.tag()
    change(tree)
    assert tree.tag() != before
    assert tree.tag().startswith("localhost:5000/swarmhub/hub:")


@pytest.mark.parametrize("name", [*ARGUMENTS, "PIP_INDEX_URL"])
def test_every_argument_changes_the_tag(tree: Tree, name: str) -> None:
    assert tree.tag(ARGUMENTS | {name: "something else"}) != tree.tag()


def test_what_python_leaves_does_not_change_the_tag(tree: Tree) -> None:
    before = tree.tag()
    (tree.image / "swarmhub_hub" / "__pycache__" / "queue.cpython-311.pyc").write_bytes(b"compiled")
    assert tree.tag() == before
    assert tree.tag(dict(reversed(ARGUMENTS.items()))) == before
