"""Module owned_files, called as Ansible calls it, on a folder of its own."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from pathlib import Path

import owned_files
import pytest
from ansible.module_utils.testing import patch_module_args

OWN = {"owner": str(os.getuid()), "group": str(os.getgid())}
SECRET = "nobody-may-read-this"


@pytest.fixture
def settle(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    """Return what calls the module."""

    def call(**options: t.Any) -> dict[str, t.Any]:
        modes = {f"_ansible_{name}": options.pop(name, False) for name in ("check_mode", "diff")}
        entries = {kind: [{**OWN, **entry} for entry in each] for kind, each in options.items()}
        with patch_module_args({**entries, **modes}), pytest.raises(SystemExit):
            owned_files.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def wanted(folder: Path) -> dict[str, t.Any]:
    return {
        "directories": [{"path": f"{folder}/a/b", "mode": "0750"}],
        "files": [
            {"path": f"{folder}/a/b/plain", "mode": "0644", "content": "one\n"},
            {"path": f"{folder}/a/b/key", "mode": "0600", "secret_content": SECRET},
            {"path": f"{folder}/old", "absent": True},
        ],
    }


def test_everything_is_settled_once_and_as_predicted(tmp_path, settle):
    (tmp_path / "old").write_text("x")
    predicted = settle(**wanted(tmp_path), check_mode=True)
    assert not (tmp_path / "a").exists()
    real = settle(**wanted(tmp_path))
    assert predicted["changed"]
    assert predicted["diff"] == real["diff"]
    assert [item["after_header"].removeprefix(f"{tmp_path}/") for item in real["diff"]] == [
        "a/b", "a/b/plain", "a/b/key", "old",
    ]  # fmt: skip
    assert mode(tmp_path / "a/b") == "0750"
    assert ((tmp_path / "a/b/plain").read_text(), mode(tmp_path / "a/b/plain")) == ("one\n", "0644")
    assert ((tmp_path / "a/b/key").read_text(), mode(tmp_path / "a/b/key")) == (SECRET, "0600")
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["key", "plain"]
    assert not (tmp_path / "old").exists()
    again = settle(**wanted(tmp_path))
    assert not again["changed"]
    assert again["diff"] == []


def test_a_secret_is_in_no_result(tmp_path, settle):
    for check in (True, False):
        assert SECRET not in json.dumps(settle(**wanted(tmp_path), check_mode=check, diff=True))
    refused = settle(files=[{"path": "/x", "secret_content": SECRET, "no_such_option": True}])
    assert "no_such_option" in refused["msg"]
    assert SECRET not in json.dumps(refused)


def test_a_diff_has_both_contents_and_a_mode_is_mended_without_writing(tmp_path, settle):
    path = tmp_path / "plain"
    path.write_text("one\n")
    path.chmod(0o600)
    os.utime(path, (1, 1))
    file = {"path": str(path), "mode": "0644", "content": "one\n"}
    (found,) = settle(files=[file])["diff"]
    assert (found["before"]["mode"], found["after"]["mode"]) == ("0600", "0644")
    assert path.stat().st_mtime == 1
    (found,) = settle(files=[{**file, "content": "two\n"}])["diff"]
    assert (found["before"], found["after"]) == ("one\n", "two\n")


def test_a_refusal_names_the_path_and_leaves_no_part_behind(tmp_path, settle):
    (tmp_path / "folder").mkdir()
    for path, reason in (
        (tmp_path / "folder", "Is a directory"),
        (tmp_path / "nowhere/file", "No such file or directory"),
    ):
        result = settle(files=[{"path": str(path), "mode": "0644", "content": "x"}])
        assert result["failed"]
        assert result["msg"] == f"{path}: {reason}"
    (tmp_path / "file").write_text("x")
    assert settle(directories=[{"path": f"{tmp_path}/file", "mode": "0755"}])["msg"] == f"{tmp_path}/file: File exists"
    result = settle(files=[{"path": f"{tmp_path}/new", "mode": "0644", "content": "x", "owner": "nobody-of-that-name"}])
    assert "nobody-of-that-name" in result["msg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
