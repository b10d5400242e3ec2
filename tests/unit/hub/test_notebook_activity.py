"""What counts as work in a notebook without a browser: processes, and cards (the stand-in of nvidia-smi)."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from conftest import ROOT
from swarmhub_hub.notebook_files import SOURCES

sys.path.append(str(SOURCES))

import swarmhub_activity
from swarmhub_activity import Watch, cpu_seconds

CARD = {"index": 0, "uuid": "GPU-a", "name": "x", "memory_mb": 1, "bus": "00000000:01:00.0", "mig": None, "lost": False}
BUSY = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nsys.stdin.read()"


def test_cpu_time_is_counted_and_stays_counted_when_a_process_ends(tmp_path: Path) -> None:
    me = os.getpid()
    (tmp_path / str(me)).symlink_to(f"/proc/{me}")
    before = cpu_seconds(me, str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        (tmp_path / str(process.pid)).symlink_to(f"/proc/{process.pid}")
        working = cpu_seconds(me, str(tmp_path))
        assert working - before >= 0.25
    assert cpu_seconds(me, str(tmp_path)) >= working


def write(proc: Path, pid: int, own: int, children: int = 0) -> None:
    """Write what /proc says of a process that has used so many ticks, half of them in the kernel."""
    (proc / str(pid)).mkdir(exist_ok=True)
    times = f"{own - own // 2} {own // 2} {children - children // 2} {children // 2}"
    (proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) S 1 1 1 0 -1 4194304 10 0 0 0 {times} 20 0 1 0 100 1 1\n")


def test_the_server_itself_is_not_counted_but_what_it_has_waited_for(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    write(tmp_path, 7, own=1000, children=200)
    write(tmp_path, 8, own=30, children=6)
    (tmp_path / "9").mkdir()  # it has ended between the list and the look
    (tmp_path / "uptime").write_text("1 1")
    assert cpu_seconds(7, str(tmp_path)) == pytest.approx(236 / tick)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Describes a host with a card to the stand-in, which is the only nvidia-smi."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    stand_in = ROOT / "molecule" / "shared" / "standins" / "nvidia_smi.py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("SWARMHUB_LAB_CARDS", str(tmp_path / "cards"))

    def describe(fault: str | None = None, **card: t.Any) -> None:
        host = {"driver": "1", "library": "1", "fault": fault, "cards": [{**CARD, "utilization": 0, **card}]}
        (tmp_path / "cards").write_text(json.dumps(host))

    return describe


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the processes have used by each count; the first belongs to the watch's beginning."""
    counts: list[float] = [0]
    monkeypatch.setattr(swarmhub_activity, "cpu_seconds", lambda but: counts.pop(0) if len(counts) > 1 else counts[0])
    return counts


def noted() -> bool:
    """Tell whether a look notes activity, a minute after the last one."""
    times: dict[str, datetime.datetime] = {}
    watch = Watch(times)
    watch._since -= 60
    watch.look()
    if times:
        assert datetime.datetime.now(datetime.UTC) - times["swarmhub"] < datetime.timedelta(seconds=10)
    return bool(times)


@pytest.mark.parametrize(("seconds", "works"), [(0.5, False), (2.9, False), (3.1, True), (600, True)])
def test_a_twentieth_of_a_core_is_work(seconds: float, works: bool, used: list[float], cards: t.Any) -> None:
    cards()
    used += [seconds, seconds]
    assert noted() is works


@pytest.mark.parametrize(
    ("card", "works"),
    [
        ({"utilization": 4}, False),
        ({"utilization": 5}, True),
        ({"utilization": 99, "mig": [{"profile": "1g.5gb", "uuid": "MIG-a"}]}, False),  # nvidia-smi does not say
        ({"utilization": 99, "lost": True}, False),
        ({"utilization": 99, "fault": "not loaded"}, False),
    ],
)
def test_a_card_at_work_is_work_where_processes_rest(
    card: dict[str, t.Any], works: bool, used: list[float], cards: t.Any
) -> None:
    cards(**card)
    assert noted() is works


def test_without_nvidia_smi_there_are_no_cards(used: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert noted() is False


def test_an_nvidia_smi_that_hangs_is_given_up(used: list[float], cards: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarmhub_activity, "PATIENCE", 0.3)
    cards(fault="hangs")
    begun = time.monotonic()
    assert noted() is False
    assert time.monotonic() - begun < 5
