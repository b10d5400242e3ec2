"""Module swarm_stack: what it does, what it leaves alone, when it waits, and what it says when it fails."""

from __future__ import annotations

import base64
import copy
import json

import pytest
import swarm_stack
from ansible.module_utils.swarmhub.compose_reader import ComposeError
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.network import NetworkError
from ansible.module_utils.swarmhub.stack import Request, StackError, deploy, remove
from ansible.module_utils.swarmhub.stack_spec import FINGERPRINT_LABEL
from ansible.module_utils.testing import patch_module_args
from fake_stack import FakeSwarm

SECRET = "hunter2-and-more"
COMPOSE = {
    "services": {
        "hub": {
            "image": "hub:1",
            "environment": {"A": "1"},
            "secrets": ["token"],
            "configs": [{"source": "settings", "target": "/etc/hub.json"}],
            "networks": ["front"],
            "volumes": ["data:/data"],
            "deploy": {"endpoint_mode": "dnsrr", "replicas": 2},
        },
        "proxy": {
            "image": "registry.lan:5000/proxy:1",
            "networks": ["front"],
            "ports": [{"target": 80, "published": 8000, "mode": "host"}],
            "deploy": {"mode": "global"},
        },
    },
    "networks": {"front": {"attachable": True}},
    "volumes": {"data": {}},
    "secrets": {"token": {}},
    "configs": {"settings": {}},
}


@pytest.fixture
def swarm():
    return FakeSwarm()


def wish(**changes):
    """A request for the stack; ``hub`` and ``proxy`` change these services."""
    compose = copy.deepcopy(changes.pop("compose", COMPOSE))
    for name in ("hub", "proxy"):
        compose["services"].get(name, {}).update(changes.pop(name, {}))
    values = {"secrets": {"token": SECRET}, "configs": {"settings": "{}"}, "timeout": 30, **changes}
    return Request("web", compose, **values)


def run(swarm, **changes):
    return deploy(swarm, wish(**changes), swarm)


@pytest.fixture
def running(swarm):
    run(swarm)
    swarm.sleep(60)
    swarm.writes.clear()
    return swarm


def without(service):
    compose = copy.deepcopy(COMPOSE)
    del compose["services"][service]
    return compose


def test_everything_is_made_in_one_call(swarm):
    result = run(swarm)
    assert result.changed
    assert swarm.names("services") == ["web_hub", "web_proxy"]
    assert swarm.names("secrets") == [result.secrets["token"]]
    assert swarm.names("configs") == [result.configs["settings"]]
    assert result.services == [
        {"name": "web_hub", "action": "create", "running": 2, "wanted": 2},
        {"name": "web_proxy", "action": "create", "running": 1, "wanted": 1},
    ]
    secret = next(iter(swarm.contents["secrets"].values()))
    assert base64.b64decode(secret["Spec"]["Data"]).decode() == SECRET
    container = swarm.service("web_hub")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert container["Secrets"][0]["SecretID"] == secret["ID"]


def test_the_second_run_touches_nothing_and_does_not_wait(running):
    before = running.now
    result = run(running)
    assert (result.changed, result.before, running.writes) == (False, {}, [])
    assert running.now == before


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("Mode", "Replicated", "Replicas"), 5, "deploy.replicas"),
        (("TaskTemplate", "ContainerSpec", "Env"), ["A=2"], "environment"),
        (("TaskTemplate", "ContainerSpec", "Image"), "hub:0", "image"),
        (("TaskTemplate", "ContainerSpec", "Hostname"), "by-hand", "hostname"),
        (("TaskTemplate", "Placement", "Constraints"), ["node.role==worker"], "deploy.placement.constraints"),
        (("TaskTemplate", "Resources", "Limits"), {"MemoryBytes": 2**20}, "deploy.resources.limits.memory"),
        (("TaskTemplate", "RestartPolicy", "MaxAttempts"), 3, "deploy.restart_policy.max_attempts"),
        (("UpdateConfig", "Order"), "start-first", "deploy.update_config.order"),
        (("EndpointSpec", "Mode"), "vip", "deploy.endpoint_mode"),
        (("Labels", "x"), "y", "deploy.labels"),
    ],
)
def test_drift_by_hand_is_seen_and_mended(running, path, value, field):
    *parents, last = path
    spec = running.service("web_hub")["Spec"]
    for key in parents:
        spec = spec[key]
    spec[last] = value
    result = run(running)
    assert list(result.before["services"]) == ["web_hub"]
    assert list(result.before["services"]["web_hub"]) == [field]
    assert not run(running).changed


def test_a_digest_added_by_the_engine_is_no_difference(running):
    container = running.service("web_hub")["Spec"]["TaskTemplate"]["ContainerSpec"]
    container["Image"] = "hub:1@sha256:" + "0" * 64
    assert not run(running).changed


def test_a_setting_that_is_taken_back_is_seen(running):
    run(running, hub={"hostname": "h"})
    result = run(running)
    assert result.before["services"] == {"web_hub": {"hostname": "h"}}


@pytest.mark.parametrize(
    "change",
    [
        {"hub": {"image": "hub:2"}},
        {"secrets": {"token": "another"}},
        {"configs": {"settings": "{1}"}},
        {"compose": without("proxy")},
        {"hub": {"networks": ["front", "default"]}},
    ],
)
def test_check_mode_predicts_the_real_run(running, change):
    predicted = run(running, **change, check=True)
    assert running.writes == []
    real = run(running, **change)
    assert predicted.changed
    assert (predicted.before, predicted.after) == (real.before, real.after)
    assert not run(running, **change).changed


def test_a_new_secret_gets_a_new_name_and_the_old_one_goes(running):
    old = running.names("secrets")
    result = run(running, secrets={"token": "another"})
    assert running.names("secrets") == [result.secrets["token"]] != old
    assert list(result.before["services"]) == ["web_hub"]


def test_the_old_secret_stays_until_the_stack_runs(running):
    old = running.names("secrets")
    with pytest.raises(StackError):
        run(running, secrets={"token": "another"}, hub={"image": "missing:1"})
    assert old[0] in running.names("secrets")
    run(running, secrets={"token": "another"}, wait=False)
    assert old[0] in running.names("secrets")


def test_a_content_that_others_use_stays(running):
    old = running.names("secrets")[0]
    spec = copy.deepcopy(running.service("web_hub")["Spec"])
    spec.update(Name="other", Labels={})
    running.request("POST", "/services/create", body=spec)
    run(running, secrets={"token": "another"})
    assert old in running.names("secrets")
    assert not run(running, secrets={"token": "another"}).changed


def test_no_value_appears_in_what_is_returned(running):
    result = run(running, secrets={"token": "another-" + SECRET})
    assert SECRET not in repr(result)
    assert SECRET not in repr(wish())


def test_services_that_are_not_named_any_more_go_and_others_stay(running):
    notebook = {"Name": "web-nb-alice", "Mode": {"Replicated": {"Replicas": 1}}, "Labels": {}}
    notebook["TaskTemplate"] = {"ContainerSpec": {"Image": "nb"}}
    running.request("POST", "/services/create", body=notebook)
    run(running, compose=without("proxy"), prune=False)
    assert "web_proxy" in running.names("services")
    run(running, compose=without("proxy"))
    assert running.names("services") == ["web-nb-alice", "web_hub"]


def test_a_service_of_the_same_name_that_is_not_ours_is_left_alone(running):
    del running.service("web_hub")["Spec"]["Labels"]["com.docker.stack.namespace"]
    with pytest.raises(ComposeError, match=r"services.web_hub: a service of this name exists"):
        run(running)
    assert running.writes == []


def test_update_out_of_sequence_is_tried_again(running):
    running.out_of_sequence = 2
    assert run(running, hub={"image": "hub:2"}).changed
    assert running.service("web_hub")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "hub:2"


def test_update_out_of_sequence_is_not_tried_for_ever(running):
    running.out_of_sequence = 99
    with pytest.raises(StackError, match=r"service web_hub: .*out of sequence"):
        run(running, hub={"image": "hub:2"})


def test_a_pending_task_fails_the_call_with_the_scheduler_s_words(running):
    deploy_ = {"resources": {"reservations": {"memory": "900G"}}}
    for _ in range(2):  # the second run, which changes nothing, must fail as well
        start = running.now
        with pytest.raises(StackError) as failure:
            run(running, hub={"deploy": deploy_})
        assert str(failure.value) == (
            "stack web does not converge: web_hub: 0 of 1 running (no suitable node (insufficient resources on 1 node))"
        )
        assert 30 <= running.now - start < 32
    assert failure.value.result.changed is False
    assert failure.value.result.services[0] == {"name": "web_hub", "action": "keep", "running": 0, "wanted": 1}


def test_a_global_service_that_fits_no_node_is_not_taken_for_running(running):
    with pytest.raises(StackError, match=r"web_proxy: none running .no node fits its placement"):
        run(running, proxy={"deploy": {"mode": "global", "placement": {"constraints": ["node.labels.x==1"]}}})


def test_what_the_engine_gave_up_fails_at_once_and_is_started_again_by_the_next_run(running):
    hopeless = {"image": "crash:1", "deploy": {"endpoint_mode": "dnsrr", "restart_policy": {"max_attempts": 2}}}
    start = running.now
    with pytest.raises(StackError, match=r"restart attempts are used up; task: non-zero exit \(1\) on node gpu1"):
        run(running, hub=hopeless)
    assert running.now - start < 5
    assert run(running, hub=hopeless, check=True).after["services"] == {"web_hub": "started again"}
    with pytest.raises(StackError, match="used up") as failure:
        run(running, hub=hopeless)
    assert failure.value.result.changed
    assert running.service("web_hub")["Spec"]["TaskTemplate"]["ForceUpdate"] == 1


def test_a_paused_update_fails_and_is_resumed_by_the_next_run(running):
    running.service("web_hub")["UpdateStatus"] = {"State": "paused", "Message": "update paused due to failure"}
    result = run(running)
    assert result.before["services"] == {"web_hub": "update paused"}
    assert not run(running).changed


def test_a_container_that_has_just_started_is_not_yet_taken_for_running(swarm):
    start = swarm.now
    run(swarm)
    assert 5 <= swarm.now - start < 7


def test_a_task_of_the_old_template_does_not_count(running):
    before = running.tasks
    run(running, hub={"image": "hub:2"}, wait=False)
    hub = running.service("web_hub")["ID"]
    running.tasks = [
        task for task in before if task["ServiceID"] != hub or task["Spec"]["ContainerSpec"]["Image"] == "hub:1"
    ]
    for task in running.tasks:
        task["DesiredState"], task["Status"]["State"] = "running", "running"
    with pytest.raises(StackError, match="web_hub: 0 of 2 running"):
        run(running, hub={"image": "hub:2"})


def test_an_update_that_the_engine_rolled_back_fails(running):
    original = running.request

    def rolling_back(method, path, **kwargs):
        answer = original(method, path, **kwargs)
        if path.endswith("/update"):
            service = running.service("web_hub")
            service["Spec"]["Labels"][FINGERPRINT_LABEL] = "the previous one"
            service["UpdateStatus"] = {"State": "rollback_completed", "Message": "update rolled back due to failure"}
        return answer

    running.request = rolling_back
    with pytest.raises(StackError, match=r"web_hub: .*the engine rolled it back"):
        run(running, hub={"image": "hub:2"})


def test_a_service_that_is_removed_while_we_wait_is_not_taken_for_running(swarm):
    original = swarm.sleep

    def removing(seconds):
        original(seconds)
        swarm.services = {key: item for key, item in swarm.services.items() if item["Spec"]["Name"] != "web_hub"}

    swarm.sleep = removing
    with pytest.raises(StackError, match="somebody removed it"):
        run(swarm)


def test_rollback_restores_every_service_that_was_touched(running):
    before = {name: running.service(name)["Spec"] for name in running.names("services")}
    compose = without("proxy")
    compose["services"]["new"] = {"image": "hub:1"}
    with pytest.raises(StackError, match=r"rolled back web_hub, web_new, web_proxy$"):
        run(running, compose=compose, hub={"image": "missing:1"}, rollback=True)
    assert running.names("services") == ["web_hub", "web_proxy"]
    for name, spec in before.items():
        restored = running.service(name)["Spec"]
        assert restored["TaskTemplate"]["ContainerSpec"] == spec["TaskTemplate"]["ContainerSpec"]
        assert restored["Labels"] == spec["Labels"]
    assert run(running).after == {"networks": {"web_default": "absent"}}, "what the new service was to be on"
    assert not run(running).changed


def test_registry_login_reaches_only_its_own_images_and_is_renewed(running):
    login = {"registry.lan:5000": {"username": "u", "password": "p"}}
    result = run(running, registry_auth=login)
    assert list(result.before["services"]) == ["web_proxy"]
    sent = json.loads(base64.urlsafe_b64decode(running.headers[-1]["X-Registry-Auth"]))
    assert sent == {"username": "u", "password": "p", "serveraddress": "registry.lan:5000"}
    assert not run(running, registry_auth=login).changed
    login["registry.lan:5000"]["password"] = "q"
    assert run(running, registry_auth=login).changed


def test_bad_registry_login_is_refused(swarm):
    with pytest.raises(ComposeError, match=r"registry_auth.x: expected"):
        run(swarm, registry_auth={"x": {"username": "u"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"info": {"Swarm": {"LocalNodeState": "active"}}}, "no swarm manager .*active.; run on a manager"),
        ({"info": {"Swarm": {"LocalNodeState": "locked"}}}, "swarm state locked"),
    ],
)
def test_an_engine_that_cannot_serve_is_refused(swarm, change, message):
    swarm.__dict__.update(change)
    with pytest.raises(StackError, match=message):
        run(swarm)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"networks": {"front": {"external": True}}}, "external network front is not in this swarm"),
        ({"secrets": {"token": {"external": True}}}, "secrets.token: external token is not in this swarm"),
    ],
)
def test_external_things_must_exist(swarm, part, message):
    secrets = {} if "secrets" in part else {"token": SECRET}
    with pytest.raises(StackError, match=message):
        run(swarm, compose={**COMPOSE, **part}, secrets=secrets)
    assert swarm.writes == []


def test_new_ports_start_new_tasks_whatever_else_stays(running):
    run(running, proxy={"ports": [{"target": 80, "published": 8001, "mode": "host"}]})
    assert running.service("web_proxy")["Spec"]["TaskTemplate"]["ForceUpdate"] == 1
    assert not run(running, proxy={"ports": [{"target": 80, "published": 8001, "mode": "host"}]}).changed


def test_a_service_is_on_its_node_s_own_network_as_well(swarm):
    wanted = {
        "compose": {**COMPOSE, "networks": {"front": {"attachable": True}, "bridge": {"external": True}}},
        "hub": {"networks": ["front", "bridge"]},
    }
    run(swarm, **wanted)
    assert [item["Target"] for item in swarm.service("web_hub")["Spec"]["TaskTemplate"]["Networks"]].count(
        "bridge-of-all-nodes"
    ) == 1
    assert not run(swarm, **wanted).changed
    assert run(swarm).after["services"]["web_hub"] == {"networks": {"web_front": ["hub"]}}


def test_a_network_that_differs_is_refused_before_anything_is_touched(running):
    with pytest.raises(NetworkError, match=r"web_front .*attachable is True, wanted False.*web_hub"):
        run(running, compose={**COMPOSE, "networks": {"front": {}}}, secrets={"token": "another"})
    assert running.writes == []


def test_the_mode_of_a_service_cannot_change(running):
    with pytest.raises(ComposeError, match=r"services.web_hub.deploy.mode: the engine cannot change 'replicated'"):
        run(running, hub={"deploy": {"mode": "global"}})


def test_the_engine_s_refusal_names_what_it_refused(swarm):
    original = swarm.request

    def refusing(method, path, **kwargs):
        if path == "/secrets/create":
            raise EngineError(method, path, 400, "secret data must be larger than 0")
        return original(method, path, **kwargs)

    swarm.request = refusing
    with pytest.raises(StackError, match=r"^secrets.token: secret data must be"):
        run(swarm)


def test_absent_takes_everything_of_the_stack_and_nothing_else(running):
    running.request("POST", "/secrets/create", body={"Name": "theirs", "Labels": {}, "Data": ""})
    running.writes.clear()
    predicted = remove(running, Request("web", check=True), running)
    assert running.writes == []
    real = remove(running, Request("web"), running)
    assert (predicted.before, predicted.after) == (real.before, real.after)
    assert (running.names("services"), running.networks, running.names("configs")) == ([], {}, [])
    assert running.names("secrets") == ["theirs"]
    assert not remove(running, Request("web"), running).changed


def test_a_network_of_the_stack_goes_when_nobody_is_on_it_any_more(running):
    run(running, compose={**COMPOSE, "networks": {**COMPOSE["networks"], "old": {}}})
    notebook = {"Name": "nb", "Mode": {"Replicated": {"Replicas": 1}}, "Labels": {}}
    notebook["TaskTemplate"] = {"ContainerSpec": {"Image": "nb"}, "Networks": [{"Target": "web_old"}]}
    identity = running.request("POST", "/services/create", body=notebook)["ID"]
    assert not run(running).changed
    running.request("DELETE", f"/services/{identity}")
    assert run(running, prune=False).changed is False
    assert run(running, check=True).after == run(running).after == {"networks": {"web_old": "absent"}}
    assert not run(running).changed


def test_absent_does_not_wait_for_what_is_on_a_node_that_is_down(running):
    running.node_state = "down"
    begin = running.now
    assert remove(running, Request("web"), running).changed
    assert running.now - begin < 5


def test_absent_is_refused_while_somebody_else_is_on_the_network(running):
    notebook = {"Name": "nb", "Mode": {"Replicated": {"Replicas": 1}}, "Labels": {}}
    notebook["TaskTemplate"] = {"ContainerSpec": {"Image": "nb"}, "Networks": [{"Target": "web_front"}]}
    running.request("POST", "/services/create", body=notebook)
    running.writes.clear()
    with pytest.raises(StackError, match="service nb is not of this stack but uses its web_front"):
        remove(running, Request("web"), running)
    assert running.writes == []


def call_module(swarm, monkeypatch, capsys, **options):
    monkeypatch.setattr(swarm_stack, "DockerEngine", lambda docker_host: swarm)
    with patch_module_args({"name": "web", **options}), pytest.raises(SystemExit):
        swarm_stack.main()
    return json.loads(capsys.readouterr().out)


def test_module(running, monkeypatch, capsys):
    options = {"compose": COMPOSE, "secrets": {"token": "another"}, "configs": {"settings": "{}"}, "wait": False}
    answer = call_module(running, monkeypatch, capsys, **options)
    assert answer["changed"] is True
    assert answer["networks"] == ["web_front"]
    assert answer["diff"]["before"]["services"].keys() == {"web_hub"}
    assert answer["invocation"]["module_args"]["secrets"] == {"token": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}


def test_module_failure_is_one_sentence(swarm, monkeypatch, capsys):
    answer = call_module(swarm, monkeypatch, capsys, compose={"services": {"a": {"image": "x", "devices": []}}})
    assert answer["failed"] is True
    assert answer["msg"] == "services.a.devices: is not supported"
