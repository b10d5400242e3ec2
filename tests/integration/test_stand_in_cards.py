"""The stand-in cards under real engines: what a swarm claims, and what a container then has."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.swarm import wait_for
from cards import SWARM, CardSwarm, card_swarm
from engines import CARDS
from labkit.cards import describe


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[CardSwarm]:
    with card_swarm(tmp_path_factory.mktemp("cards")) as founded:
        yield founded


@pytest.fixture(autouse=True)
def clean(swarm: CardSwarm) -> t.Iterator[None]:
    """Start with a sound toolkit, end without services."""
    swarm.toolkit()
    yield
    if names := swarm.manager.docker("service", "ls", "--quiet").split():
        swarm.manager.docker("service", "rm", *names)
    assert wait_for(lambda: swarm.gpu1.docker("ps", "--all", "--quiet"), lambda seen: seen == "", 30) == ""


def tasks(swarm: CardSwarm, service: str) -> list[dict[str, t.Any]]:
    ids = swarm.manager.docker("service", "ps", "--quiet", "--no-trunc", service).split()
    found: list[dict[str, t.Any]] = json.loads(swarm.manager.docker("inspect", "--type=task", *ids))
    return found


def running(swarm: CardSwarm, service: str, count: int = 1) -> list[str]:
    """Wait until that many tasks of a service run; return the ids of their containers."""

    def containers() -> list[str]:
        own = f"--filter=label=com.docker.swarm.service.name={service}"
        return swarm.gpu1.docker("ps", "--quiet", "--no-trunc", own).split()

    found = wait_for(containers, lambda ids: len(ids) == count, 30)
    assert len(found) == count
    return found


def shell(swarm: CardSwarm, container: str, script: str) -> list[str]:
    return swarm.gpu1.docker("exec", container, "/bin/sh", "-c", script).splitlines()


def variables(swarm: CardSwarm, container: str) -> dict[str, str]:
    listed = json.loads(swarm.gpu1.docker("inspect", "--format={{json .Config.Env}}", container))
    return dict(each.split("=", 1) for each in listed)


def claimed(task: dict[str, t.Any]) -> list[str]:
    """The cards that the swarm says a task holds."""
    specs = [resource["NamedResourceSpec"] for resource in task.get("GenericResources") or []]
    assert {spec["Kind"] for spec in specs} <= {"GPU"}
    return [spec["Value"] for spec in specs]


def test_the_node_advertises_its_cards_by_name(swarm: CardSwarm) -> None:
    (node,) = json.loads(swarm.manager.docker("node", "inspect", swarm.node_id()))
    resources = node["Description"]["Resources"]["GenericResources"]
    assert sorted(resource["NamedResourceSpec"]["Value"] for resource in resources) == CARDS


@pytest.mark.parametrize("resources", [["GPU=1", f"GPU={CARDS[0]}"], [f"GPU={CARDS[0]}", "GPU=1"]], ids="-".join)
def test_an_engine_refuses_counts_among_names(tmp_path: Path, resources: list[str]) -> None:
    (tmp_path / "daemon.json").write_text("{}")
    dockerd = [
        "dockerd", f"--config-file={tmp_path}/daemon.json", f"--host=unix://{tmp_path}/docker.sock",
        f"--data-root={tmp_path}/data", f"--exec-root={tmp_path}/exec", f"--pidfile={tmp_path}/pid",
        "--bridge=none", "--iptables=false", "--storage-driver=vfs",
        *(f"--node-generic-resource={resource}" for resource in resources),
    ]  # fmt: skip
    done = subprocess.run(dockerd, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode != 0
    assert "mixed discrete and named resources" in done.stderr


def test_every_card_has_one_holder_and_the_third_waits(swarm: CardSwarm) -> None:
    swarm.service("notebook", 1, "--replicas=3", "--env=NVIDIA_VISIBLE_DEVICES=void")
    containers = running(swarm, "notebook", 2)
    holders = {container: variables(swarm, container)["DOCKER_RESOURCE_GPU"] for container in containers}
    assert sorted(holders.values()) == CARDS
    seen = tasks(swarm, "notebook")
    assert sorted(card for task in seen for card in claimed(task)) == CARDS
    (waiting,) = [task for task in seen if not claimed(task)]
    assert waiting["Status"]["State"] == "pending"
    assert "insufficient resources" in waiting["Status"]["Err"]
    for container, card in holders.items():
        place = CARDS.index(card)
        listing = [f"GPU 0: NVIDIA RTX A6000 (UUID: {card})"]
        assert shell(swarm, container, "nvidia-smi -L") == listing
        assert shell(swarm, container, "echo /dev/nvidia[0-9]*") == [f"/dev/nvidia{place}"]
    logged = {line["container"]: line for line in swarm.log()}
    assert {container: logged[container]["given"] for container in containers} == {
        container: [card] for container, card in holders.items()
    }
    assert logged[containers[0]]["variables"]["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_one_service_may_hold_both_and_its_variable_names_both(swarm: CardSwarm) -> None:
    swarm.service("pair", 2)
    (container,) = running(swarm, "pair")
    assert sorted(variables(swarm, container)["DOCKER_RESOURCE_GPU"].split(",")) == CARDS
    assert sorted(claimed(tasks(swarm, "pair")[0])) == CARDS
    assert len(shell(swarm, container, "nvidia-smi -L")) == 2
    # a card may be used: control groups let it through, so the lack of a driver is what stops the opening
    words = shell(swarm, container, "(: < /dev/nvidia0) 2>&1 || :")[0]
    assert "No such device" in words


def test_a_card_that_is_released_is_given_again(swarm: CardSwarm) -> None:
    swarm.service("first", 2)
    running(swarm, "first")
    swarm.service("second", 1)
    waiting = wait_for(lambda: tasks(swarm, "second")[0], lambda task: task["Status"]["State"] == "pending", 30)
    assert waiting["Status"]["State"] == "pending"
    swarm.manager.docker("service", "rm", "first")
    (container,) = running(swarm, "second")
    assert variables(swarm, container)["DOCKER_RESOURCE_GPU"] in CARDS


@pytest.mark.parametrize(
    ("version", "config", "asked", "count"),
    [
        ("1.18.2-1", SWARM, "all", 2),  # the defect: everybody has every card
        ("1.18.2-1", SWARM, "void", 0),  # and why notebooks say void
        ("1.18.2-1", SWARM + '[nvidia-container-runtime]\nmode = "legacy"', "all", 1),
        ("1.19.0-1", SWARM, "all", 1),
        ("1.20.0-1", SWARM, "all", 1),
        ("1.20.0-1", "", "all", 2),
        ("1.20.0-1", 'swarm-resource = "DOCKER_RESOURCE_GPU,DOCKER_RESOURCE_MIG"', "all", 2),  # a list is no list
    ],
)
def test_what_the_holder_of_one_card_has(swarm: CardSwarm, version: str, config: str, asked: str, count: int) -> None:
    swarm.toolkit(config, version=version)
    swarm.service("one", 1, f"--env=NVIDIA_VISIBLE_DEVICES={asked}")
    (container,) = running(swarm, "one")
    files = shell(swarm, container, "for file in /dev/nvidia[0-9]*; do [ ! -e $file ] || echo $file; done")
    assert len(files) == count
    assert len(next(line for line in swarm.log() if line["container"] == container)["given"]) == count


def test_a_card_that_is_not_there_keeps_the_task_from_starting(swarm: CardSwarm) -> None:
    swarm.toolkit(host=describe([]))
    swarm.service("one", 1, "--restart-condition=none")
    task = wait_for(lambda: tasks(swarm, "one")[0], lambda seen: seen["Status"]["State"] in ("failed", "rejected"), 30)
    assert f'failed to get NVML device handle for identifier "{claimed(task)[0]}": Not Found' in task["Status"]["Err"]
    assert swarm.log()[-1]["refused"].endswith("Not Found")
