from __future__ import annotations

import sys

import pytest

from bench.measure import Run, figures, measure

RECAP = """\
PLAY [Look] ****
ok: [mgr1]
changed: [cpu1] => (item=1)
skipping: [cpu1]
PLAY RECAP *****
cpu1                       : ok=15   changed=1    unreachable=0    failed=0
mgr1                       : ok=22   changed=0    unreachable=0    failed=0
"""
HEAVY = "import time; x = bytearray(80 * 2**20); print('PLAY [One] *'); time.sleep(0.3)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-uc', {HEAVY!r}])"


def test_a_run_knows_what_ansible_did() -> None:
    run = Run(1.0, RECAP)
    assert run.host_tasks == 2
    assert run.changed == {"cpu1": 1, "mgr1": 0}


def test_memory_of_a_process_and_of_its_children_is_apart() -> None:
    run = measure([sys.executable, "-c", PARENT])
    assert run.children_mib > 80
    assert run.control_mib < 60
    assert list(run.phases) == ["start"]


def test_phases_end_where_the_next_begins() -> None:
    talk = (
        "import time\nfor name in ('[One]', '[Two]', 'RECAP'):\n print('PLAY', name, '*', flush=True); time.sleep(0.2)"
    )
    run = measure([sys.executable, "-c", talk])
    assert list(run.phases) == ["start", "One", "Two"]
    assert 0.19 < run.phases["One"] < run.seconds


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        measure([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_figures_are_medians() -> None:
    assert figures([Run(seconds, "") for seconds in (9.0, 1.0, 2.0)])["seconds"] == 2.0
