from __future__ import annotations

import yaml
from labkit import inventory
from labkit.layouts import LAYOUTS
from labkit.state import State

LAYOUT = LAYOUTS["default"]


def test_a_light_host_is_labelled_so_that_no_notebook_fits() -> None:
    layout = LAYOUT.with_spares(["light01", "gpu3"])
    written = yaml.safe_load(inventory._hosts(State(subnet="10.77.1.0/24"), layout))["all"]
    kinds = {name: variables.get("calculation_type") for name, variables in written["hosts"].items()}
    assert {name for name, kind in kinds.items() if kind} == {"light01"}
    assert set(written["children"]["cpu_workers"]["hosts"]) == {"cpu1", "light01"}


def test_no_two_hosts_have_one_address() -> None:
    numbers = [host.number for host in (*LAYOUT.hosts, *LAYOUT.spares)]
    assert len(numbers) == len(set(numbers)) == 41
    assert max(numbers) < 255
