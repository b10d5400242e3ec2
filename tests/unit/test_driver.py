"""The driver's packages, and what only a reboot brings about."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.boot_state import booted, components
from ansible.module_utils.swarmhub.driver import NOT_LOADED, header_packages, reboot_reasons


@pytest.mark.parametrize(
    ("kernel", "flavour"),
    [
        ("6.12.43+deb13-amd64", "amd64"),
        ("6.12.43+deb13-cloud-amd64", "cloud-amd64"),
        ("6.1.0-38-rt-arm64", "rt-arm64"),
        ("6.18.44-fc", ""),
        ("6.8.0-71-generic", ""),
        ("", ""),
    ],
)
def test_headers_are_those_of_the_kernel_and_of_its_successors(kernel: str, flavour: str) -> None:
    assert header_packages(kernel) == ([f"linux-headers-{kernel}", f"linux-headers-{flavour}"] if flavour else [])


def test_a_reboot_mends_a_fresh_driver_and_the_faults_that_say_so() -> None:
    driver = {"nvidia-driver": {"version": "1", "held": True, "since": 200.0}}
    fresh = {"cards": [], "booted": 100.0, "packages": driver}
    assert reboot_reasons(fresh, ["nvidia-driver", "libcuda1"]) == [NOT_LOADED]
    assert reboot_reasons(fresh, ["nvidia-driver=550.163.01-2"]) == [NOT_LOADED]
    assert reboot_reasons({**fresh, "booted": 300.0}, ["nvidia-driver"]) == []
    assert reboot_reasons({**fresh, "cards": [{"uuid": "GPU-1"}]}, ["nvidia-driver"]) == []
    assert reboot_reasons(fresh, []) == []
    faults = [
        {"card": "GPU-1", "what": "is off the bus", "cure": "x", "reboot": True},
        {"card": "GPU-2", "what": "is hot", "cure": "x", "reboot": False},
    ]
    assert reboot_reasons({**fresh, "card_faults": faults}, []) == ["card GPU-1 is off the bus"]
    assert reboot_reasons({**fresh, "card_faults": faults}, [], ["GPU-1"]) == []
    assert reboot_reasons({}, ["nvidia-driver"]) == []


def test_components_are_found_in_both_formats(tmp_path: Path) -> None:
    assert components(tmp_path) == []
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://x y no\ndeb-src http://x y no\ndeb [signed-by=/k] http://x y main contrib # no\ndeb http://x /\n"
    )
    (parts / "a.sources").write_text(
        "Types: deb\nURIs: http://x\nSuites: y\nComponents: main non-free\n\nEnabled: no\nComponents: no\n"
    )
    assert components(tmp_path) == ["contrib", "main", "non-free"]


def test_a_boot_is_told_in_unix_seconds() -> None:
    assert abs(booted("7000000\n") - booted("") - 7) < 1
