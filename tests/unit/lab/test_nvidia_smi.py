"""The stand-in for nvidia-smi: what it prints and how it ends, for every state of a driver and its cards."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from labkit.cards import DRIVER, describe
from standins import nvidia_smi
from standins.driver_state import changed

MODELS = {"a": "NVIDIA RTX A6000", "mig": "NVIDIA A100-SXM4-40GB"}
UUIDS = [f"GPU-11111111-0000-4000-8000-00000000000{number}" for number in range(8)]
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running."
)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> t.Any:
    def call(host: t.Any, *arguments: str) -> tuple[int, list[str]]:
        """Return exit code and lines; ``host`` is a description, or None for a machine without one."""
        path = tmp_path / "cards"
        if host is not None:
            path.write_text(json.dumps(host))
        monkeypatch.setenv("SWARMHUB_LAB_CARDS", str(path))
        monkeypatch.setattr(sys, "argv", ["nvidia-smi", *arguments])
        code = nvidia_smi.main()
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, printed.out.rstrip("\n").split("\n")

    return call


QUERY = "--query-gpu=index,uuid"
CSV = "--format=csv,noheader,nounits"


@pytest.mark.parametrize("arguments", [["-L"], [QUERY, CSV], [], ["-i", "0", "-L"]], ids=" ".join)
@pytest.mark.parametrize(
    ("host", "code", "lines"),
    [
        (None, 9, [NO_DRIVER]),
        (describe([]), 6, ["No devices were found"]),
        (describe(UUIDS[:1], fault="not loaded"), 9, [NO_DRIVER]),
        (describe([], fault="not loaded"), 9, [NO_DRIVER]),
        (
            describe(UUIDS[:2], library="550.90.07"),
            18,
            ["Failed to initialize NVML: Driver/library version mismatch", "NVML library version: 550.90"],
        ),
        # who does not find the driver cannot compare versions
        (describe(UUIDS[:2], library="550.90.07", fault="not loaded"), 9, [NO_DRIVER]),
        # nor look at cards
        (describe(UUIDS[:2], library="550.90.07", lost=[0]), 18, None),
        (describe(UUIDS[:2], fault="not loaded", lost=[0]), 9, [NO_DRIVER]),
    ],
)
def test_a_driver_that_does_not_work(
    smi: t.Any, arguments: list[str], host: t.Any, code: int, lines: list[str] | None
) -> None:
    seen = smi(host, *arguments)
    assert seen[0] == code
    assert lines is None or seen[1] == lines


@pytest.mark.parametrize("count", [1, 2, 8])
def test_cards_are_listed(smi: t.Any, count: int) -> None:
    expected = [f"GPU {index}: NVIDIA RTX A6000 (UUID: {UUIDS[index]})" for index in range(count)]
    assert smi(describe(UUIDS[:count]), "-L") == (0, expected)
    rows = [f"{UUIDS[index]}, NVIDIA RTX A6000, 49140" for index in range(count)]
    assert smi(describe(UUIDS[:count]), "--query-gpu=uuid,name,memory.total", CSV) == (0, rows)


def test_instances_stand_below_their_card(smi: t.Any) -> None:
    host = describe(UUIDS[:2], MODELS["mig"], mig={1: ["3g.20gb", "1g.5gb"]})
    first, second = host["cards"][1]["mig"] or []
    assert smi(host, "-L") == (
        0,
        [
            f"GPU 0: NVIDIA A100-SXM4-40GB (UUID: {UUIDS[0]})",
            f"GPU 1: NVIDIA A100-SXM4-40GB (UUID: {UUIDS[1]})",
            f"  MIG 3g.20gb     Device  0: (UUID: {first['uuid']})",
            f"  MIG 1g.5gb      Device  1: (UUID: {second['uuid']})",
        ],
    )
    assert smi(host, "--query-gpu=mig.mode.current", CSV)[1] == ["Disabled", "Enabled"]
    assert smi(describe(UUIDS[:1]), "--query-gpu=mig.mode.current", CSV)[1] == ["[N/A]"]


def test_a_card_off_the_bus(smi: t.Any) -> None:
    host = describe(UUIDS[:3], lost=[1])
    code, lines = smi(host, "-L")
    assert code == 255
    assert lines[0].startswith("GPU 0:")
    assert lines[1] == "Unable to determine the device handle for gpu 0000:02:00.0: Unknown Error"
    assert lines[2].startswith("GPU 2:")
    sentence = "Unable to determine the device handle for GPU0000:02:00.0: Unknown Error"
    assert smi(host, QUERY, CSV) == (255, [sentence])
    assert smi(host, QUERY, CSV, "-i", "1") == (255, [sentence])
    assert smi(host) == (255, [sentence])
    assert smi(host, QUERY, CSV, "-i", "0,2") == (0, [f"0, {UUIDS[0]}", f"2, {UUIDS[2]}"])


@pytest.mark.parametrize("name", ["1", UUIDS[1], "00000000:02:00.0"])
@pytest.mark.parametrize("option", [["-i", "{}"], ["--id={}"], ["-i={}"]], ids=" ".join)
def test_one_card_is_asked_for(smi: t.Any, name: str, option: list[str]) -> None:
    arguments = [part.format(name) for part in option]
    assert smi(describe(UUIDS[:2]), *arguments, QUERY, CSV) == (0, [f"1, {UUIDS[1]}"])
    assert smi(describe(UUIDS[:1]), *arguments, QUERY, CSV) == (6, ["No devices were found"])


def test_any_fields_in_any_order_and_style(smi: t.Any) -> None:
    host = describe(UUIDS[:1])
    fields = "pci.bus_id,mig.mode.current,driver_version,memory.total,name,uuid,index"
    row = f"00000000:01:00.0, [N/A], {DRIVER}, 49140, NVIDIA RTX A6000, {UUIDS[0]}, 0"
    assert smi(host, f"--query-gpu={fields}", CSV) == (0, [row])
    assert smi(host, "--query-gpu=memory.total, gpu_uuid", "--format=csv") == (
        0,
        ["memory.total [MiB], gpu_uuid", f"49140 MiB, {UUIDS[0]}"],
    )
    assert smi(host, "--query-gpu=memory.total", "--format=csv,noheader") == (0, ["49140 MiB"])


def test_a_card_says_how_much_it_works_unless_it_is_divided(smi: t.Any) -> None:
    host = describe(UUIDS[:1])
    host["cards"][0]["utilization"] = 87
    assert smi(host, "--query-gpu=utilization.gpu", "--format=csv") == (0, ["utilization.gpu [%]", "87 %"])
    divided = describe(UUIDS[:1], MODELS["mig"], mig={0: ["1g.5gb"]})
    assert smi(divided, "--query-gpu=utilization.gpu", "--format=csv,noheader") == (0, ["[N/A]"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--query-gpu=index,cuda_version", "--format=csv"], 'Field "cuda_version" is not a valid field to query.'),
        (["--query-gpu=index"], "\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help."),
        (["--no-such-option"], "Invalid combination of input arguments (stand-in): --no-such-option"),
    ],
)
def test_what_cannot_be_asked(smi: t.Any, arguments: list[str], words: str) -> None:
    assert smi(describe(UUIDS[:1]), *arguments) == (2, [words])


def test_a_driver_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "cards"
    path.write_text(json.dumps(describe(UUIDS[:1], fault="hangs")))
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, nvidia_smi.__file__, "-L"], env={"SWARMHUB_LAB_CARDS": str(path)}, timeout=1, check=False
        )


def test_a_first_driver_is_loaded_by_a_boot_and_an_upgrade_mismatches_until_then(smi: t.Any) -> None:
    host: t.Any = describe(UUIDS[:1], fault="not loaded")
    host = changed(host, "library", "535.261.03")
    assert smi(host, "-L")[0] == 9
    host = changed(host, "boot", "535.261.03")
    assert smi(host, "-L")[0] == 0
    host = changed(host, "library", "550.163.01")
    assert smi(host, "-L")[0] == 18
    host = changed(host, "boot", "550.163.01")
    assert smi(host, "--query-gpu=driver_version", CSV) == (0, ["550.163.01"])
    assert changed({**host, "fault": "hangs"}, "boot", "550.163.01")["fault"] == "hangs"
