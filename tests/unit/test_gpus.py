"""Cards and faults from what nvidia-smi prints and how it ends; the texts are those of real drivers."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import gpus
from ansible.module_utils.swarmhub.gpus import Answer

A, B, C = (f"GPU-{letter * 8}-1111-2222-3333-444444444444" for letter in "abc")
ROW = "{index}, {uuid}, NVIDIA RTX A6000, 49140, 570.86.15, 00000000:{bus}:00.0, {mig}\n"
ROW_A = ROW.format(index=0, uuid=A, bus="0B", mig="[N/A]")
ROW_B = ROW.format(index=1, uuid=B, bus="C1", mig="Disabled")
LISTED_A = f"GPU 0: NVIDIA RTX A6000 (UUID: {A})\n"
LISTED_C = f"GPU 2: NVIDIA RTX A6000 (UUID: {C})\n"
CARD_A = {
    "index": 0,
    "uuid": A,
    "name": "NVIDIA RTX A6000",
    "memory_mb": 49140,
    "driver": "570.86.15",
    "bus": "0000:0b:00.0",
    "mig": False,
    "instances": [],
}


def smi(*answers: Answer, listing: str = "", single: dict[str, str] | None = None) -> gpus.Ask:
    """Return an nvidia-smi that gives these answers to queries of all, this listing, and these rows by UUID."""
    queue = list(answers)

    def ask(*arguments: str) -> Answer:
        if arguments == ("-L",):
            return Answer(0, listing)
        if arguments[0].startswith("--id="):
            return Answer(0, (single or {})[arguments[0].removeprefix("--id=")])
        assert arguments == gpus.QUERY
        return queue.pop(0)

    return ask


def test_cards_that_are_well_cost_one_question() -> None:
    asked: list[tuple[str, ...]] = []

    def ask(*arguments: str) -> Answer:
        asked.append(arguments)
        return Answer(0, ROW_B + ROW_A)

    found = gpus.read(ask)
    assert found["faults"] == []
    assert found["cards"][0] == CARD_A
    assert [card["uuid"] for card in found["cards"]] == [A, B]
    assert len(asked) == 1


def test_memory_that_the_driver_does_not_tell_is_zero() -> None:
    row = ROW_A.replace("49140", "[N/A]")
    assert gpus.read(smi(Answer(0, row)))["cards"] == [{**CARD_A, "memory_mb": 0}]


def test_mig_instances_come_with_their_card() -> None:
    listing = (
        LISTED_A
        + f"GPU 1: NVIDIA A100-SXM4-80GB (UUID: {B})\n"
        + "  MIG 3g.40gb     Device  0: (UUID: MIG-b1)\n"
        + "  MIG 1g.10gb+me  Device  1: (UUID: MIG-b2)\n"
    )
    row = ROW.format(index=1, uuid=B, bus="C1", mig="Enabled")
    found = gpus.read(smi(Answer(0, ROW_A + row), listing=listing))
    assert found["cards"][0] == CARD_A
    assert found["cards"][1]["mig"] is True
    assert found["cards"][1]["instances"] == [
        {"profile": "3g.40gb", "uuid": "MIG-b1"},
        {"profile": "1g.10gb+me", "uuid": "MIG-b2"},
    ]
    assert found["faults"] == []


@pytest.mark.parametrize("listing", [Answer(None, ""), Answer(255, "Unknown Error"), Answer(0, LISTED_A)])
def test_instances_that_cannot_be_listed_do_not_seem_to_be_gone(listing: Answer) -> None:
    rows = ROW_A + ROW.format(index=1, uuid=B, bus="C1", mig="Enabled")
    found = gpus.read(lambda *arguments: listing if arguments == ("-L",) else Answer(0, rows))
    assert found["cards"] == []
    assert [fault["card"] for fault in found["faults"]] == [None]


def test_a_card_in_mig_mode_without_instances_is_of_no_use() -> None:
    row = ROW.format(index=0, uuid=A, bus="0B", mig="Enabled")
    (fault,) = gpus.read(smi(Answer(0, row), listing=LISTED_A))["faults"]
    assert (fault["card"], fault["reboot"]) == (A, False)


@pytest.mark.parametrize(
    ("code", "output", "words", "reboot"),
    [
        (127, "", "no nvidia-smi", False),
        (None, "", "did not answer in 20 s", True),
        (
            9,
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n",
            "not loaded",
            True,
        ),
        (
            18,
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n",
            "different versions",
            True,
        ),
        (6, "No devices were found\n", "finds no card", False),
        (0, "No devices were found\n", "finds no card", False),
        (12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", "libnvidia-ml", False),
        (2, 'Field "mig.mode.current" is not a valid field to query.\n', "cannot be read", False),
        (0, "", "cannot be read", False),
        (255, "Failed to initialize NVML: Unknown Error\n", "Unknown Error", False),
    ],
)
def test_a_driver_that_shows_no_card(code: int | None, output: str, words: str, reboot: bool) -> None:
    found = gpus.read(smi(Answer(code, output)))
    (fault,) = found["faults"]
    assert found["cards"] == []
    assert (fault["card"], fault["reboot"]) == (None, reboot)
    assert words in fault["what"]
    assert fault["cure"]


@pytest.mark.parametrize(
    ("line", "card", "why"),
    [
        ("Unable to determine the device handle for GPU 0000:C1:00.0: Unknown Error", "0000:c1:00.0", "Unknown Error"),
        ("Unable to determine the device handle for GPU0000:C1:00.0: Unknown Error", "0000:c1:00.0", "Unknown Error"),
        ("Unable to determine the device handle for gpu 0000:C1:00.0: Unknown Error", "0000:c1:00.0", "Unknown Error"),
        ("Unable to determine the device handle for GPU1: 0000:C1:00.0: Unknown Error", "0000:c1:00.0", "Unknown"),
        (
            "Unable to determine the device handle for GPU 0000:C1:00.0: GPU is lost.  Reboot the system to recover "
            "this GPU",
            "0000:c1:00.0",
            "GPU is lost",
        ),
        ("Unable to determine the device handle for GPU2: Unknown Error", "GPU2", "Unknown Error"),
        (f"1, {B}, [GPU is lost], [GPU is lost], 570.86.15, 00000000:C1:00.0, [GPU is lost]", B, "GPU is lost"),
        (f"1, {B}, [GPU is lost], [GPU is lost], 570.86.15, [GPU is lost], [GPU is lost]", B, "GPU is lost"),
        ("1, [Unknown Error], X, [Unknown Error], 5, 00000000:C1:00.0, [N/A]", "0000:c1:00.0", "Unknown Error"),
    ],
)
@pytest.mark.parametrize("told", ["with the others", "instead of the others"])
def test_a_lost_card_is_named_and_the_others_go_on(line: str, card: str, why: str, told: str) -> None:
    all_told = told == "with the others"
    output = f"{ROW_A}{line}\n" if all_told else f"{line}\nNo devices were found\n"
    listing = f"{LISTED_A}{line if line.startswith('Unable') else ''}\n{LISTED_C}"
    row_c = ROW.format(index=2, uuid=C, bus="E1", mig="[N/A]")
    found = gpus.read(smi(Answer(15, output), listing=listing, single={A: ROW_A, C: row_c}))
    assert [each["uuid"] for each in found["cards"]] == [A, C]
    (fault,) = found["faults"]
    assert fault["card"] == card
    assert why in fault["what"]
    assert fault["reboot"] is True


LOST_B = "Unable to determine the device handle for GPU 0000:C1:00.0: Unknown Error\n"


def test_a_lost_card_that_is_still_listed_is_one_fault_with_its_uuid() -> None:
    listing = f"{LISTED_A}GPU 1: NVIDIA RTX A6000 (UUID: {B})\n"
    found = gpus.read(smi(Answer(255, LOST_B), listing=listing, single={A: ROW_A, B: LOST_B}))
    assert found["cards"] == [CARD_A]
    (fault,) = found["faults"]
    assert (fault["card"], fault["what"]) == (B, "at 0000:c1:00.0 does not answer (Unknown Error)")


@pytest.mark.parametrize(("remembered", "card"), [(B, B), ("GPU-????????-????-????-????-????????????", "0000:c1:00.0")])
def test_the_kernel_may_remember_which_card_is_lost(
    remembered: str, card: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "PROC", tmp_path)
    (tmp_path / "0000:c1:00.0").mkdir()
    text = f"Model: \t\t NVIDIA RTX A6000\nIRQ:   \t\t 172\nGPU UUID: \t {remembered}\nBus Type: \t PCIe\n"
    (tmp_path / "0000:c1:00.0" / "information").write_text(text)
    (fault,) = gpus.read(smi(Answer(255, LOST_B), listing=LISTED_A, single={A: ROW_A}))["faults"]
    assert fault["card"] == card
    assert "0000:c1:00.0" in f"{fault['card']} {fault['what']}"


def test_a_card_that_gives_no_answer_of_its_own_is_told() -> None:
    found = gpus.read(smi(Answer(255, LOST_B), listing=LISTED_A + LISTED_C, single={A: ROW_A, C: ""}))
    assert found["cards"] == [CARD_A]
    assert [fault["card"] for fault in found["faults"]] == ["0000:c1:00.0", C]


def test_a_card_without_a_bus_is_a_card() -> None:
    row = ROW_A.replace("00000000:0B:00.0", "[N/A]")
    assert gpus.read(smi(Answer(0, row)))["cards"] == [{**CARD_A, "bus": ""}]


def test_a_warning_among_the_rows_is_a_fault_of_its_card() -> None:
    output = ROW_A + "WARNING: infoROM is corrupted at gpu 0000:0B:00.0\n"
    found = gpus.read(smi(Answer(14, output), listing=LISTED_A))
    assert [card["uuid"] for card in found["cards"]] == [A]
    assert [fault["card"] for fault in found["faults"]] == ["0000:0b:00.0"]


def test_what_cannot_be_read_among_the_rows_is_told() -> None:
    found = gpus.read(smi(Answer(0, ROW_A + "0, 1, 2\n"), listing=LISTED_A))
    assert [card["uuid"] for card in found["cards"]] == [A]
    assert [(fault["card"], fault["what"]) for fault in found["faults"]] == [(None, "nvidia-smi said '0, 1, 2'")]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a test may write a program that is found as nvidia-smi, before the machine's own."""
    path = tmp_path / "nvidia-smi"
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return path


def test_the_program_is_asked_and_its_exit_code_is_seen(program: Path) -> None:
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch' >&2\nexit 18\n")
    (fault,) = gpus.read()["faults"]
    assert "different versions" in fault["what"]


def test_a_program_that_hangs_is_given_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(gpus, "TIMEOUT", 0.2)
    begun = time.monotonic()
    (fault,) = gpus.read()["faults"]
    assert fault["reboot"] is True
    assert time.monotonic() - begun < 5


def test_no_program_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no driver" in gpus.read()["faults"][0]["what"]
