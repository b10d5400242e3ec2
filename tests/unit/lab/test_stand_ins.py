"""The packages of the stand-ins: versions, dependencies, contents."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from labkit import stand_ins
from labkit.cards import describe
from labkit.layouts import LAYOUTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    stand_ins.build(folder)
    return folder


def field(folder: Path, name: str, version: str, wanted: str) -> str:
    command = ["dpkg-deb", "--field", str(stand_ins.deb(folder, name, version)), wanted]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_package_is_built_in_every_version(folder: Path) -> None:
    toolkit = ("nvidia-container-toolkit", "nvidia-container-toolkit-base")
    library = ("libnvidia-container1", "libnvidia-container-tools")
    expected = {(name, version) for name in (*toolkit, *library) for version in ("1.18.2-1", "1.19.0-1", "1.20.0-1")}
    drivers = ("nvidia-smi", "nvidia-kernel-dkms", "nvidia-driver", "libcuda1")
    expected |= {(name, version) for name in drivers for version in ("535.261.03-1+lab", "550.163.01-2+lab")}
    assert {tuple(path.name.split("_")[:2]) for path in folder.glob("*.deb")} == expected
    assert {name for name, _ in expected} == {path.name for path in stand_ins.STUBS.iterdir()}
    for name, version in expected:
        assert field(folder, name, version, "Version") == version


@pytest.mark.parametrize(
    ("name", "version", "depends"),
    [
        (
            "nvidia-container-toolkit",
            "1.19.0-1",
            "nvidia-container-toolkit-base (= 1.19.0-1), libnvidia-container-tools (= 1.19.0-1)",
        ),
        ("libnvidia-container-tools", "1.18.2-1", "libnvidia-container1 (= 1.18.2-1)"),
        (
            "nvidia-driver",
            "535.261.03-1+lab",
            "nvidia-kernel-dkms (= 535.261.03-1+lab), nvidia-smi (= 535.261.03-1+lab)",
        ),
    ],
)
def test_packages_belong_together(folder: Path, name: str, version: str, depends: str) -> None:
    assert field(folder, name, version, "Depends") == depends


@pytest.mark.parametrize("version", ["1.18.2", "1.19.0", "1.20.0"])
def test_the_toolkit_knows_its_version(folder: Path, tmp_path: Path, version: str) -> None:
    stand_ins.unpack(stand_ins.deb(folder, "nvidia-container-toolkit-base", f"{version}-1"), tmp_path)
    done = subprocess.run([tmp_path / "usr/bin/nvidia-ctk", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"NVIDIA Container Toolkit CLI version {version}\n")


def test_what_changes_is_built_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = stand_ins.sources_hash()
    assert stand_ins.sources_hash() == before
    (tmp_path / "more.py").write_text("")
    monkeypatch.setattr(stand_ins, "SHARED", tmp_path)
    monkeypatch.setattr(stand_ins, "STUBS", tmp_path)
    monkeypatch.setattr(stand_ins, "MODULES", tmp_path)
    assert stand_ins.sources_hash() != before


def test_the_layouts_cards_are_described() -> None:
    host = next(host for host in LAYOUTS["default"].hosts if host.name == "gpu2")
    found = describe(host.uuids, host.card_model)
    assert [card["uuid"] for card in found["cards"]] == host.uuids
    assert [card["bus"] for card in describe(host.uuids * 2)["cards"]][7] == "00000000:08:00.0"
    assert found["driver"] == found["library"] == "550.163.01"
