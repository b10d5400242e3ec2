from __future__ import annotations

import typing as t

import pytest

from bench.check import differing, kept
from bench.run import ratios

BEFORE = {"cpu1": ["a 644", "b 600"], "node 1": [{"x": "y"}, "worker"]}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (BEFORE, 0),
        ({**BEFORE, "cpu1": ["a 666", "b 600"]}, 2),
        ({**BEFORE, "node 1": [{}, "worker"]}, 2),
    ],
)
def test_what_differs_is_told(after: dict[str, t.Any], words: int) -> None:
    assert len(differing(BEFORE, after)) == words


def test_only_what_is_wanted_of_a_service_counts() -> None:
    wanted = {"Name": "hub", "Env": ["A=1", "B=2"], "Secrets": [{"SecretName": "s"}], "Limits": {"Pids": 0}}
    live = {"Name": "hub", "Env": ["B=2", "A=1"], "Secrets": [{"SecretName": "s", "SecretID": "x"}], "Limits": {}}
    assert kept(wanted, live) == kept(wanted, wanted)
    assert kept(wanted, {**live, "Env": ["A=1"]}) != kept(wanted, wanted)
    assert kept(wanted, None) != kept(wanted, wanted)


def test_a_ratio_is_of_parts_that_were_measured() -> None:
    figures = {"8": {"ours": {"seconds": 6.0}, "pyinfra": {"seconds": 12.0}}, "4": {"ours": {"seconds": 5.0}}}
    assert ratios(figures) == {"second_run_vs_pyinfra": 0.5}
