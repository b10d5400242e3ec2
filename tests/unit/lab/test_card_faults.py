"""Every combination of what can be wrong with stand-in cards, read by our module: one clear sentence for each."""

from __future__ import annotations

import itertools
import json
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import gpus
from ansible.module_utils.swarmhub.findings import Finding
from labkit.cards import DRIVER, describe
from standins import nvidia_smi

UUIDS = [f"GPU-11111111-0000-4000-8000-00000000000{number}" for number in range(8)]
MIG: dict[str, dict[int, list[str]] | None] = {"none": None, "off": {}, "cut": {0: ["1g.5gb", "2g.10gb"]}}
LOST = {"none": (), "first": (0,), "two": (0, 1), "all": range(8)}
FAULTS: tuple[t.Any, ...] = (None, "not loaded", "hangs")


class _HangsError(Exception):
    pass


class Case(t.NamedTuple):
    cards: int
    lost: str
    mig: str
    fault: t.Any
    library: str


CASES = list(map(Case._make, itertools.product((0, 1, 2, 8), LOST, MIG, FAULTS, (DRIVER, "535.261.03"))))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_fault_is_one_sentence_with_its_cure(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "NVIDIA RTX A6000" if case.mig == "none" else "NVIDIA A100-SXM4-40GB"
    away = {index for index in LOST[case.lost] if index < case.cards}
    host = describe(UUIDS[: case.cards], model, fault=case.fault, library=case.library, mig=MIG[case.mig], lost=away)
    (tmp_path / "cards").write_text(json.dumps(host))
    monkeypatch.setenv("SWARMHUB_LAB_CARDS", str(tmp_path / "cards"))

    def hang(_seconds: float) -> None:
        raise _HangsError

    def ask(*arguments: str) -> gpus.Answer:
        monkeypatch.setattr(sys, "argv", ["nvidia-smi", *arguments])
        monkeypatch.setattr(nvidia_smi.time, "sleep", hang)
        try:
            return gpus.Answer(nvidia_smi.main(), capsys.readouterr().out)
        except _HangsError:
            return gpus.Answer(None, "")

    found = gpus.read(ask)
    works = case.fault is None and case.library == DRIVER
    assert len(found["cards"]) == (case.cards - len(away) if works else 0)
    assert len(found["faults"]) == (len(away) if works and case.cards else 1)
    for fault in found["faults"]:
        # A fault of the driver names no card; one of a card names it by what the driver still tells.
        assert (fault["card"] is None) == (not (works and case.cards))
        sentence = str(Finding(fault["what"], fault["cure"], f"card {fault['card']}", "gpu1"))
        assert "\n" not in sentence
        assert min(len(fault["what"]), len(fault["cure"])) > 10, sentence
    assert len({fault["card"] for fault in found["faults"]}) == len(found["faults"])
