"""The stand-in for nvidia-ctk: the file that it writes, and what versions make of swarm-resource."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

import pytest
from standins import toolkit_config
from standins.nvidia_ctk import configured

OLD, MIDDLE, NEW = (1, 18, 2), (1, 19, 0), (1, 20, 0)
SET = "swarm-resource=DOCKER_RESOURCE_GPU"


@pytest.fixture
def write(tmp_path: Path) -> t.Any:
    def call(version: tuple[int, ...], *changes: str) -> str | None:
        """Change the file as ``nvidia-ctk config --in-place`` does; return the swarm-resource that then holds."""
        path = tmp_path / "config.toml"
        path.write_text(configured(path, list(changes), version))
        value: str | None = toolkit_config.read(path).get("swarm-resource")
        return value

    return call


def test_the_first_file_has_the_defaults(tmp_path: Path) -> None:
    text = configured(tmp_path / "none", [], NEW)
    assert text.startswith("#accept-nvidia-visible-devices-as-volume-mounts = false\n")
    assert '\n#swarm-resource = "DOCKER_RESOURCE_GPU"\n\n[nvidia-container-cli]\n#debug = ' in text
    assert '\nmode = "auto"\nruntimes = ["runc", "crun"]\n' in text
    assert text.endswith('\n[nvidia-ctk]\npath = "nvidia-ctk"\n')
    assert tomllib.loads(text) == toolkit_config.DEFAULTS


@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
def test_a_file_is_written_as_it_was(tmp_path: Path, version: tuple[int, ...]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(configured(path, ["nvidia-container-runtime.mode=legacy"], version))
    first = path.read_text()
    assert 'mode = "legacy"' in first
    assert configured(path, [], version) == first


def test_1_18_writes_the_setting_as_a_comment(write: t.Any) -> None:
    assert write(OLD) is None
    assert write(OLD, SET) is None
    assert write(OLD, "swarm-resource=DOCKER_RESOURCE_GPU,DOCKER_RESOURCE_MIG") == (
        "DOCKER_RESOURCE_GPU,DOCKER_RESOURCE_MIG"
    )


def test_1_19_sets_it_and_loses_it_with_the_next_call(write: t.Any) -> None:
    assert write(MIDDLE, SET) == "DOCKER_RESOURCE_GPU"
    assert write(MIDDLE) is None


def test_1_20_keeps_it(write: t.Any) -> None:
    assert write(MIDDLE, SET) == "DOCKER_RESOURCE_GPU"
    assert write(NEW) == "DOCKER_RESOURCE_GPU"
    assert write(NEW, "nvidia-container-runtime.mode=legacy") == "DOCKER_RESOURCE_GPU"
    assert write(NEW, "swarm-resource=") == ""
    assert write(OLD) is None


def test_types_are_those_of_the_setting(tmp_path: Path) -> None:
    changes = ["nvidia-container-cli.no-cgroups", "disable-require=true", "nvidia-container-runtime.runtimes=crun:runc"]
    settings = tomllib.loads(configured(tmp_path / "none", changes, NEW))
    assert settings["nvidia-container-cli"]["no-cgroups"] is True
    assert settings["disable-require"] is True
    assert settings["nvidia-container-runtime"]["runtimes"] == ["crun", "runc"]


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='undefined field: "swarm-resources"'):
        configured(tmp_path / "none", ["swarm-resources=X"], NEW)
