"""The files of new homes: what is handed to the hub, and what is refused."""

from __future__ import annotations

import base64
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import skeleton
from ansible.module_utils.swarmhub.inventory import Inventory


def found(directory: object) -> list[str]:
    given = t.cast("Inventory", type("Given", (), {"settings": {"hub_skeleton": str(directory)}}))
    return [finding.what for finding in skeleton.check_directory(given)]


def test_files_and_their_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "run").write_bytes(b"\0\xff")
    (tmp_path / "a" / "b" / "run").chmod(0o700)
    (tmp_path / ".env").write_text("X=1")
    assert json.loads(skeleton.skeleton(str(tmp_path))) == [
        {"path": ".env", "executable": False, "content": base64.b64encode(b"X=1").decode()},
        {"path": "a/b/run", "executable": True, "content": base64.b64encode(b"\0\xff").decode()},
    ]
    assert found(tmp_path) == []
    assert (skeleton.skeleton(""), found("")) == ("[]", [])


def test_what_cannot_be_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path / "none") == [f"{tmp_path}/none is no directory of this controller"]
    (tmp_path / "link").symlink_to("/etc/shadow")
    assert found(tmp_path) == [f"{tmp_path}/link is neither a file nor a directory"]
    (tmp_path / "link").unlink()
    (tmp_path / "big").write_text("x" * 100)
    monkeypatch.setattr(skeleton, "LARGEST", 100)
    assert "and a Docker config 100" in found(tmp_path)[0]
