"""Module swarm_network: what it compares, what it refuses, and that it leaves alone what is right."""

from __future__ import annotations

import dataclasses
import json

import pytest
import swarm_network
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.network import NetworkError, NetworkSpec, settle
from ansible.module_utils.testing import patch_module_args
from fake_stack import FakeSwarm

SPEC = NetworkSpec("hub", attachable=True, subnets=("10.10.0.0/22",), labels={"a": "b"})


@pytest.fixture
def swarm():
    return FakeSwarm()


def made(swarm, spec=SPEC):
    outcome = settle(swarm, spec, clock=swarm)
    swarm.writes.clear()
    return outcome


def use(swarm, network):
    attached = [{"Target": network}]
    spec = {
        "Name": "web",
        "Mode": {"Global": {}},
        "TaskTemplate": {"ContainerSpec": {"Image": "x"}, "Networks": attached},
    }
    swarm.request("POST", "/services/create", body=spec)
    swarm.writes.clear()


def test_created_once_and_then_untouched(swarm):
    assert made(swarm).changed
    again = settle(swarm, SPEC, clock=swarm)
    assert (again.changed, again.before, swarm.writes) == (False, {}, [])


def test_subnet_may_be_left_to_the_swarm(swarm):
    made(swarm)
    assert not settle(swarm, NetworkSpec("hub", attachable=True, labels={"a": "b"}), clock=swarm).changed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attachable", False),
        ("internal", True),
        ("driver_opts", {"encrypted": ""}),
        ("subnets", ("10.10.0.0/23",)),
        ("labels", {"a": "c"}),
        ("driver", "macvlan"),
    ],
)
def test_a_difference_is_refused_and_nothing_is_destroyed(swarm, field, value):
    made(swarm)
    use(swarm, "hub")
    other = NetworkSpec(**{**SPEC.__dict__, field: value})
    with pytest.raises(NetworkError, match=rf"{field} is .*; on it: service web \(tasks on gpu1\)"):
        settle(swarm, other, clock=swarm)
    assert swarm.writes == []


def test_an_unused_network_is_made_anew_where_that_is_allowed(swarm):
    first = made(swarm).identity
    outcome = settle(swarm, NetworkSpec("hub", internal=True), allow_recreate=True, clock=swarm)
    assert outcome.changed
    assert outcome.identity != first
    assert outcome.after["hub"]["internal"] is True


def test_services_forbid_removal_and_renewal_before_anything_is_touched(swarm):
    made(swarm)
    use(swarm, "hub")
    with pytest.raises(NetworkError, match=r"remove first: service web \(tasks on gpu1\)"):
        settle(swarm, NetworkSpec("hub", internal=True), allow_recreate=True, clock=swarm)
    with pytest.raises(NetworkError, match=r"remove first: service web \(tasks on gpu1\)"):
        settle(swarm, SPEC, present=False, clock=swarm)
    assert swarm.writes == []


def test_overlap_with_another_network_is_refused(swarm):
    made(swarm)
    with pytest.raises(NetworkError, match=r"10\.10\.2\.0/24 overlaps 10\.10\.0\.0/22 of network hub"):
        settle(swarm, NetworkSpec("other", subnets=("10.10.2.0/24",)), clock=swarm)


def test_a_network_that_gets_no_addresses_is_removed_again(swarm):
    original = swarm.request

    def unallocated(method, path, **kwargs):
        answer = original(method, path, **kwargs)
        return {**answer, "IPAM": {"Config": None}} if method == "GET" and path.startswith("/networks/") else answer

    swarm.request = unallocated
    with pytest.raises(NetworkError, match="gave it no addresses"):
        settle(swarm, SPEC, clock=swarm)
    assert swarm.networks == {}


def test_removal_waits_for_ending_tasks_but_not_for_ever(swarm):
    made(swarm)
    original = swarm.request

    def held(method, path, **kwargs):
        if method == "DELETE":
            raise EngineError(method, path, 403, "network has active endpoints")
        return original(method, path, **kwargs)

    swarm.request = held
    start = swarm.now
    with pytest.raises(NetworkError, match="active endpoints"):
        settle(swarm, SPEC, present=False, timeout=7, clock=swarm)
    assert 7 <= swarm.now - start < 9


@pytest.mark.parametrize("present", [True, False])
def test_check_mode_predicts_and_touches_nothing(swarm, present):
    if not present:
        made(swarm)
    predicted = settle(swarm, SPEC, present=present, check=True, clock=swarm)
    assert swarm.writes == []
    real = settle(swarm, SPEC, present=present, clock=swarm)
    assert (predicted.changed, predicted.before, predicted.after) == (real.changed, real.before, real.after)


def test_bad_addresses():
    with pytest.raises(NetworkError, match=r"network x: .*10.0.0.1/24"):
        NetworkSpec("x", subnets=("10.0.0.1/24",))
    with pytest.raises(NetworkError, match="exactly one subnet"):
        NetworkSpec("x", gateway="10.0.0.1")


def test_module(swarm, monkeypatch, capsys):
    monkeypatch.setattr(swarm_network, "DockerEngine", lambda docker_host: swarm)
    options = {"name": "hub", "encrypted": True, "mtu": 1400}
    with patch_module_args(options), pytest.raises(SystemExit) as end:
        swarm_network.main()
    answer = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert answer["changed"] is True
    assert answer["network"]["name"] == "hub"
    assert answer["diff"]["after"]["hub"]["driver_opts"] == {
        "encrypted": "",
        "com.docker.network.driver.mtu": "1400",
    }


def test_the_error_of_a_network_that_differs_ends_with_the_cure(swarm):
    wanted = NetworkSpec("hub", cure="take the stack down first")
    made(swarm, wanted)
    with pytest.raises(NetworkError, match=r"take the stack down first$"):
        settle(swarm, dataclasses.replace(wanted, driver_opts={"encrypted": ""}), clock=swarm)
