"""The life of a stack on a real swarm of two engines, told by swarm_stack; the tests build on one another."""

from __future__ import annotations

import copy
import json
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.swarm import wait_for
from engines import Host, Hosts
from swarms import QUICK, SYSTEM

SECRET = "a-password-that-somebody-chose"
COMPOSE: dict[str, t.Any] = {
    "version": "3.8",
    "services": {
        "full": {
            **QUICK,
            "entrypoint": ["/usr/bin/env", "--"],
            "environment": {"A": "1", "B": "x=y"},
            "hostname": "h",
            "user": "0:0",
            "init": True,
            "working_dir": "/usr",
            "stop_signal": "SIGTERM",
            "labels": {"l": "1"},
            "networks": {"front": {"aliases": ["z", "y"]}, "back": None},
            "ports": [{"target": 80, "published": 8080, "mode": "host"}],
            "volumes": [
                *SYSTEM,
                "data:/data",
                {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "10M"}},
            ],
            "secrets": ["token", {"source": "token", "target": "mine", "uid": "5", "gid": "6", "mode": 0o440}],
            "configs": [{"source": "settings", "target": "/etc/settings.json"}],
            "healthcheck": {"test": "true", "interval": "1s", "timeout": "2s", "retries": 3, "start_period": "1s"},
            "cap_add": ["net_admin"],
            "cap_drop": ["NET_RAW"],
            "sysctls": {"net.ipv4.ip_unprivileged_port_start": 0},
            "ulimits": {"nofile": {"soft": 1024, "hard": 2048}},
            "dns": "10.123.0.1",
            "extra_hosts": ["foo:10.123.0.2"],
            "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
            "deploy": {
                "endpoint_mode": "dnsrr",
                "labels": {"q": "r"},
                "placement": {
                    "constraints": ["node.role == manager"],
                    "preferences": [{"spread": "node.labels.dc"}],
                    "max_replicas_per_node": 1,
                },
                "resources": {
                    "limits": {"cpus": "0.5", "memory": "50M", "pids": 100},
                    "reservations": {"cpus": "0.01", "memory": "5M"},
                },
                "restart_policy": {"condition": "any", "delay": "1s", "max_attempts": 0, "window": "10s"},
                "update_config": {"failure_action": "rollback", "monitor": "1s"},
                "rollback_config": {"parallelism": 0},
            },
        },
        "card": {
            **QUICK,
            "deploy": {
                "resources": {
                    "reservations": {"generic_resources": [{"discrete_resource_spec": {"kind": "GPU", "value": 1}}]}
                }
            },
        },
        "everywhere": {**QUICK, "deploy": {"mode": "global"}},
    },
    "networks": {
        "front": {
            "name": "frontnet",
            "attachable": True,
            "driver_opts": {"com.docker.network.driver.mtu": "1400"},
            "ipam": {"config": [{"subnet": "10.77.0.0/24"}]},
        },
        "back": {"internal": True},
    },
    "volumes": {"data": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}},
    "secrets": {"token": {}},
    "configs": {"settings": {}},
}


# The shape of a hub and its proxy as people write them for `docker stack deploy`.
THEIRS: dict[str, t.Any] = {
    "version": "3.8",
    "services": {
        "proxy": {
            **QUICK,
            "image": "empty:${TAG:-none}",
            "networks": ["hub_network"],
            "ports": [{"mode": "host", "protocol": "tcp", "published": 8001, "target": 8000}],
            "environment": {"TOKEN": "abc123"},
            "deploy": {
                "mode": "global",
                "placement": {"constraints": ["node.hostname==mgr1"]},
                "resources": {
                    "limits": {"cpus": "1.0", "memory": "500M"},
                    "reservations": {"cpus": "0.1", "memory": "10M"},
                },
                "restart_policy": {"condition": "on-failure", "delay": "5s", "max_attempts": 3, "window": "100s"},
            },
        },
        "hub": {
            **QUICK,
            "hostname": "hub",
            "container_name": "hub",
            "depends_on": ["proxy"],
            "networks": ["hub_network"],
            "volumes": [*SYSTEM, "/var/run:/engine", "hub-data:/data", "homes:/homes"],
            "environment": ["PROXY_SHOULD_START=False", "COST=5$$"],
            "deploy": {
                "endpoint_mode": "dnsrr",
                "mode": "replicated",
                "replicas": 1,
                "placement": {"constraints": ["node.role==manager"]},
            },
        },
    },
    "volumes": {"hub-data": None, "homes": {"driver_opts": {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}}},
    "networks": {"hub_network": {"external": True}},
}


def options(**changes: t.Any) -> dict[str, t.Any]:
    """The module's options; names of services change these, anything else is an option."""
    compose = copy.deepcopy(COMPOSE)
    for name in [name for name in changes if name in compose["services"]]:
        compose["services"][name].update(changes.pop(name))
    values = {"secrets": {"token": SECRET}, "configs": {"settings": "{}"}, "timeout": 60}
    return {"name": "web", "compose": compose, **values, **changes}


def changed_fields(result: dict[str, t.Any]) -> dict[str, set[str]]:
    return {name: set(fields) for name, fields in result["diff"]["after"]["services"].items()}


def environment(manager: Host) -> list[str]:
    template = manager.docker("service", "inspect", "--format", "{{json .Spec.TaskTemplate.ContainerSpec}}", "web_full")
    found: list[str] = json.loads(template)["Env"]
    return found


@pytest.fixture(scope="module")
def manager(hosts: Hosts, empty_image: Path) -> Host:
    """The manager of a swarm of two, each of which has the image."""
    first, second = hosts.mgr1, hosts.gpu1
    for host in (first, second):
        host.docker("import", str(empty_image), "empty:1")
    first.docker("swarm", "init", "--advertise-addr", first.address)
    second.docker(
        "swarm", "join", "--token", first.docker("swarm", "join-token", "-q", "worker"), f"{first.address}:2377"
    )
    return first


def test_failing_19_any_difference_destroys_the_network(manager: Host) -> None:
    wanted = {"name": "lone", "subnet": ["10.78.0.0/24"], "attachable": True, "mtu": 1400, "labels": {"a": "b"}}
    made = manager.settle("swarm_network", **wanted)
    mounts = [f"--volume={mount}" for mount in SYSTEM]
    container = manager.docker("run", "--detach", "--network=lone", *mounts, "empty:1", "/usr/bin/sleep", "600")
    for allow_recreate in (False, True):
        refusal = manager.refusal("swarm_network", **{**wanted, "mtu": 1300, "allow_recreate": allow_recreate})
        assert f"container {container[:12]} on mgr1" in refusal
    manager.docker("rm", "--force", container)
    refusal = manager.refusal("swarm_network", **{**wanted, "attachable": False})
    assert "attachable is True, wanted False" in refusal
    renewed = manager.settle("swarm_network", **{**wanted, "attachable": False, "allow_recreate": True})
    assert renewed["network"]["id"] != made["network"]["id"]
    overlap = manager.module("swarm_network", name="other", subnet=["10.78.0.128/25"])
    assert "overlaps 10.78.0.0/24 of network lone" in overlap["msg"]
    assert manager.settle("swarm_network", name="lone", state="absent")["changed"]


def test_encryption_and_packet_size_are_found_again_as_they_were_asked_for(manager: Host) -> None:
    assert manager.settle("swarm_network", name="private", encrypted=True, mtu=1450)["changed"]
    refusal = manager.refusal("swarm_network", name="private", mtu=1450)
    assert "driver_opts is" in refusal
    assert manager.settle("swarm_network", name="private", state="absent")["changed"]


def test_the_nodes_own_network_is_found_again_by_its_name(manager: Host) -> None:
    """These engines have no docker0, so nothing comes to run; the swarm knows the network all the same."""
    service = {**QUICK, "networks": ["bridge"]}
    wanted = {"compose": {"services": {"one": service}, "networks": {"bridge": {"external": True}}}, "wait": False}
    assert manager.settle("swarm_stack", name="outside", **wanted)["changed"]
    assert manager.settle("swarm_stack", name="outside", state="absent")["changed"]


def test_failing_16_a_stack_has_neither_check_mode_nor_diff(manager: Host) -> None:
    predicted = manager.module("swarm_stack", check=True, **options())
    assert changed_fields(predicted).keys() == {"web_full", "web_card", "web_everywhere"}
    assert predicted["diff"]["after"]["services"]["web_full"]["hostname"] == "h"
    assert manager.docker("service", "ls", "--quiet") + manager.docker("secret", "ls", "--quiet") == ""


def test_a_stack_is_made_and_then_left_alone(manager: Host) -> None:
    made = manager.settle("swarm_stack", **options())
    assert {item["name"]: (item["running"], item["wanted"]) for item in made["services"]} == {
        "web_full": (1, 1),
        "web_card": (1, 1),
        "web_everywhere": (2, 2),
    }
    assert SECRET not in json.dumps(made)
    container = manager.docker("ps", "-q", "--filter", "name=web_full")
    assert manager.docker("exec", container, "cat", "/run/secrets/token") == SECRET
    assert manager.docker("exec", container, "stat", "-c", "%a %u:%g", "/run/secrets/mine") == "440 5:6"
    start = time.monotonic()
    manager.module("swarm_stack", **options())
    assert time.monotonic() - start < 5


def test_failing_20_generic_resources_and_what_did_not_change_are_lost(manager: Host) -> None:
    form = ["service", "inspect", "--format", "{{json .Spec.TaskTemplate}}"]
    before = json.loads(manager.docker(*form, "web_full"))
    result = manager.settle("swarm_stack", **options(full={"environment": {"A": "2"}}))
    assert changed_fields(result) == {"web_full": {"environment"}}
    after = json.loads(manager.docker(*form, "web_full"))
    assert after["ContainerSpec"].pop("Env") != before["ContainerSpec"].pop("Env")
    assert after == before
    card = json.loads(manager.docker(*form, "web_card"))["Resources"]["Reservations"]["GenericResources"]
    assert card == [{"DiscreteResourceSpec": {"Kind": "GPU", "Value": 1}}]


def test_failing_18_a_new_secret_reaches_no_service(manager: Host) -> None:
    result = manager.settle("swarm_stack", **options(secrets={"token": "another"}, configs={"settings": "{1}"}))
    assert {"secrets", "configs"} <= changed_fields(result)["web_full"]
    assert manager.docker("secret", "ls", "--format", "{{.Name}}") == result["secrets"]["token"]
    assert manager.docker("config", "ls", "--format", "{{.Name}}") == result["configs"]["settings"]


def test_drift_by_hand_is_mended(manager: Host) -> None:
    manager.module("swarm_stack", **options())
    drift = ["--env-add", "X=1", "--label-add", "x=y", "--constraint-add", "node.id!=none", "--limit-memory", "60M"]
    manager.docker("service", "update", "--detach", "--quiet", "--no-resolve-image", *drift, "web_full")
    result = manager.settle("swarm_stack", **options())
    assert changed_fields(result) == {
        "web_full": {"environment", "deploy.labels", "deploy.placement.constraints", "deploy.resources.limits.memory"}
    }
    assert environment(manager) == ["A=1", "B=x=y"]


def test_new_ports_reach_a_task_that_new_constraints_would_leave_alone(manager: Host) -> None:
    def settled(port: int, constraint: str) -> str:
        ports = [{"target": 80, "published": port, "mode": "host"}]
        service = {**QUICK, "ports": ports, "deploy": {"placement": {"constraints": [constraint]}}}
        manager.settle("swarm_stack", name="moving", compose={"services": {"one": service}}, timeout=60)
        return manager.docker("service", "ps", "--quiet", "--filter", "desired-state=running", "moving_one")

    first = settled(8091, "node.role==manager")
    assert settled(8092, "node.hostname==mgr1") != first
    manager.settle("swarm_stack", name="moving", state="absent", timeout=60)


def test_failing_17_a_pending_service_passes_for_deployed(manager: Host) -> None:
    three_cards = {"discrete_resource_spec": {"kind": "GPU", "value": 3}}
    wish = {"deploy": {"resources": {"reservations": {"generic_resources": [three_cards]}}}}
    for changed in (True, False):
        failed = manager.module("swarm_stack", **options(card=wish, timeout=8))
        assert failed["failed"]
        assert failed["changed"] is changed
        assert "web_card: 0 of 1 running (no suitable node (insufficient resources on 2 nodes))" in failed["msg"]
    manager.settle("swarm_stack", **options())


def test_an_image_that_is_not_there_is_named_and_rolled_back(manager: Host) -> None:
    failed = manager.module("swarm_stack", **options(card={"image": "nosuch:1"}, timeout=15, rollback=True))
    assert "No such image: nosuch:1 on node" in failed["msg"]
    assert failed["msg"].endswith("rolled back web_card")
    assert manager.module("swarm_stack", **options())["changed"] is False


def test_an_update_that_the_engine_rolls_back_fails(manager: Host) -> None:
    wish = {"image": "nosuch:1", "deploy": {"update_config": {"failure_action": "rollback", "monitor": "2s"}}}
    failed = manager.module("swarm_stack", **options(card=wish, timeout=30))
    assert "web_card" in failed["msg"]
    assert "the engine rolled it back" in failed["msg"]
    manager.settle("swarm_stack", **options())


def test_used_up_restarts_fail_and_start_again_with_the_next_run(manager: Host) -> None:
    policy = {
        "deploy": {
            "restart_policy": {"max_attempts": 1, "delay": "1s"},
            "update_config": {"failure_action": "continue"},
        }
    }
    wish = {"command": ["sh", "-c", "exit 3"], **policy}
    for fields in (None, "started again"):
        failed = manager.module("swarm_stack", **options(card=wish, timeout=30))
        assert "restart attempts are used up; task: non-zero exit (3) on node" in failed["msg"]
        assert fields in (None, failed["diff"]["after"]["services"]["web_card"])


def test_a_crash_loop_is_not_taken_for_running(manager: Host) -> None:
    policy = {"deploy": {"restart_policy": {"delay": "500ms"}, "update_config": {"failure_action": "continue"}}}
    failed = manager.module(
        "swarm_stack", **options(card={"command": ["sh", "-c", "sleep 1; exit 3"], **policy}, timeout=12)
    )
    assert "task: non-zero exit (3)" in failed["msg"]


def test_a_global_service_whose_node_ceases_to_fit_is_not_taken_for_running(manager: Host) -> None:
    wish = {"deploy": {"mode": "global", "placement": {"constraints": ["node.labels.none==1"]}}}
    failed = manager.module("swarm_stack", **options(everywhere=wish, timeout=8))
    assert "web_everywhere: none running (no node fits its placement)" in failed["msg"]


def test_a_stack_written_for_docker_is_taken_over_as_it_is(
    manager: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docker made of the file differs from what we make of it in our own label only."""
    monkeypatch.setenv("TAG", "1")
    (tmp_path / "stack.json").write_text(json.dumps(THEIRS), encoding="utf-8")
    manager.docker("network", "create", "--driver=overlay", "--attachable", "hub_network")
    manager.docker("stack", "deploy", "--resolve-image=never", "-c", str(tmp_path / "stack.json"), "theirs")
    result = manager.settle("swarm_stack", name="theirs", compose=THEIRS, environment={"TAG": 1})
    assert changed_fields(result) == {"theirs_proxy": {"fingerprint"}, "theirs_hub": {"fingerprint"}}
    assert "COST=5$" in manager.docker("service", "inspect", "theirs_hub")
    assert manager.settle("swarm_stack", name="theirs", state="absent")["changed"]


def test_only_what_is_ours_is_pruned(manager: Host) -> None:
    manager.docker(
        "service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", "web-nb-alice", "empty:1"
    )
    fewer = options()
    del fewer["compose"]["services"]["full"], fewer["compose"]["secrets"], fewer["compose"]["configs"]
    del fewer["compose"]["networks"]["back"]
    manager.settle("swarm_stack", **{**fewer, "secrets": {}, "configs": {}})
    assert sorted(manager.docker("service", "ls", "--format", "{{.Name}}").split()) == [
        "web-nb-alice",
        "web_card",
        "web_everywhere",
    ]
    assert manager.docker("secret", "ls", "-q") == ""
    networks = manager.docker("network", "ls", "--format", "{{.Name}}").split()
    assert ("web_back" in networks, "frontnet" in networks) == (False, True)


def test_absent_is_refused_while_a_notebook_is_on_the_network_and_then_takes_all(manager: Host) -> None:
    manager.docker("service", "update", "--detach", "--quiet", "--network-add", "frontnet", "web-nb-alice")
    refused = manager.module("swarm_stack", name="web", state="absent")
    assert "service web-nb-alice is not of this stack but uses its frontnet" in refused["msg"]
    manager.docker("service", "rm", "web-nb-alice")
    manager.settle("swarm_stack", name="web", state="absent")
    assert manager.docker("service", "ls", "-q") == ""
    assert "frontnet" not in manager.docker("network", "ls", "--format", "{{.Name}}")


def test_a_network_that_a_task_keeps_while_it_ends_is_made_anew(manager: Host) -> None:
    service = {**QUICK, "stop_grace_period": "8s", "deploy": {"placement": {"constraints": ["node.role == manager"]}}}
    wanted = {
        "name": "slow",
        "compose": {"services": {"one": {**service, "networks": ["net"]}}, "networks": {"net": {}}},
    }
    manager.settle("swarm_stack", **wanted)
    manager.docker("service", "rm", "slow_one")
    manager.docker("network", "rm", "slow_net")
    assert "slow_net" in manager.docker("network", "ls", "--format", "{{.Name}}"), "the task ends at once"
    # Check mode cannot foresee it: the engine shows the network as if it were still there.
    again = manager.module("swarm_stack", **wanted)
    assert again["diff"]["after"]["networks"].keys() == {"slow_net"}, again
    assert not manager.module("swarm_stack", **wanted)["changed"]
    manager.settle("swarm_stack", name="slow", state="absent")


def test_absent_does_not_wait_for_what_is_on_a_node_that_is_down(hosts: Hosts, manager: Host) -> None:
    compose = {"services": {"one": {**QUICK, "deploy": {"mode": "global"}}}}
    manager.settle("swarm_stack", name="lost", compose=compose)
    hosts.gpu1.stop()
    shown = ("node", "ls", "--filter=name=gpu1", "--format={{.Status}}")
    assert wait_for(lambda: manager.docker(*shown), lambda status: status == "Down", timeout=60) == "Down"
    assert manager.settle("swarm_stack", name="lost", state="absent", timeout=30)["changed"]
    hosts.gpu1.start()


def test_a_worker_is_no_place_to_run_on(hosts: Hosts, manager: Host) -> None:
    refused = hosts.gpu1.module("swarm_stack", **options())
    assert "this host is no swarm manager" in refused["msg"]
