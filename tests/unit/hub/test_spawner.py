"""A server's life on a scripted engine, with JupyterHub's own user and database objects."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import typing as t
from pathlib import Path

import pytest
from conftest import Places, message, start
from fake_docker import FakeDocker, refused, status
from swarmhub_hub import spawner as spawner_module
from swarmhub_hub.settings import parse_settings
from swarmhub_hub.spawner import SpawnFailed, SwarmhubSpawner

# --- start ----------------------------------------------------------------------------------------------------------


def test_a_start_through_all_states(places: Places, engine: FakeDocker) -> None:
    engine.script = [
        status(state)
        for state in ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")
    ]
    places.settings = dataclasses.replace(places.settings, start_timeout=10)
    spawner = places.spawner()
    assert start(spawner) == (spawner.object_name, places.port)
    (service,) = engine.created
    assert service["name"] == spawner.object_name
    assert service["labels"]["swarmhub.user"] == "alice"
    assert service["task_template"]["ContainerSpec"]["Image"] == "notebook:1"
    assert asyncio.run(spawner.poll()) is None


def test_r_no_image_is_pulled_on_the_manager(
    places: Places, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node does, as any task's; JupyterHub's own way would hold everybody up."""
    pulled: list[str] = []
    monkeypatch.setattr(engine, "pull", lambda *image: pulled.append(image), raising=False)
    spawner = places.spawner()
    spawner.pull_policy = "always"
    start(spawner)
    assert (pulled, len(engine.created)) == ([], 1)


def test_j_nobody_chooses_an_image_that_no_profile_has(places: Places, engine: FakeDocker) -> None:
    start(places.spawner(), image="evil:1")
    assert engine.created[0]["task_template"]["ContainerSpec"]["Image"] == "notebook:1"


def test_the_service_carries_no_token_but_its_own(places: Places, engine: FakeDocker) -> None:
    start(places.spawner())
    env = engine.created[0]["task_template"]["ContainerSpec"]["Env"]
    tokens = {line.split("=", 1)[1] for line in env if "TOKEN" in line.split("=", 1)[0]}
    assert tokens == {"its-own-token"}


def test_the_home_is_there_before_the_service(places: Places, engine: FakeDocker, raw: dict[str, t.Any]) -> None:
    start(places.spawner("Bär"))
    mount = engine.created[0]["task_template"]["ContainerSpec"]["Mounts"][0]
    directory = mount["Source"].removeprefix("/srv/homes/")
    assert (spawner_module.home_name("Bär"), "/home/jovyan") == (directory, mount["Target"])
    assert places.settings.homes.mount == raw["homes"]["mount"]
    assert (Path(raw["homes"]["mount"]) / directory).is_dir()


def test_shared_folders_follow_the_groups_at_each_start(
    places: Places, engine: FakeDocker, raw: dict[str, t.Any]
) -> None:
    raw["homes"] |= {
        "shared_path": "/srv/shared",
        "shared_folders": [{"name": "all"}, {"name": "team", "groups": ["g"]}],
    }
    places.settings = dataclasses.replace(places.settings, homes=parse_settings(raw).homes)
    spawner = places.spawner(groups=["g"])
    start(spawner)
    asyncio.run(spawner.stop())
    spawner.user.orm_user.groups = []
    start(spawner)
    seen = [
        [each["Target"] for each in made["task_template"]["ContainerSpec"]["Mounts"][:-1]] for made in engine.created
    ]
    home = "/home/jovyan"
    assert seen == [[home, f"{home}/shared/all", f"{home}/shared/team"], [home, f"{home}/shared/all"]]
    assert [each.name for each in (Path(raw["homes"]["mount"]) / "alice/shared").iterdir()] == ["all"]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (status("rejected", "No such image: nope:1"), "rejected: No such image: nope:1"),
        (status("failed", "task: non-zero exit (1)", 1), "failed, exit code 1: task: non-zero exit (1)"),
        (status("complete"), "did not start: complete."),
    ],
)
def test_a_failed_start_fails_at_once_in_the_swarms_words(
    places: Places, engine: FakeDocker, end: dict[str, t.Any], words: str
) -> None:
    engine.script = [status("preparing"), end]
    spawner = places.spawner()
    with pytest.raises(SpawnFailed) as caught:
        start(spawner)
    assert words in message(caught.value)
    assert engine.live == {}
    assert spawner.object_id == ""


def test_a_start_that_finds_no_place_says_why_and_leaves_nothing(places: Places, engine: FakeDocker) -> None:
    engine.script = [status("pending", "no suitable node (insufficient resources on 3 nodes)")]
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner())
    assert (
        "did not start in 2 s. Waiting for a place: no suitable node (insufficient resources on 3 nodes)."
        in message(caught.value)
    )
    assert engine.live == {}


def test_a_server_that_never_listens_is_told_so_and_one_that_crashes_at_once(
    places: Places, engine: FakeDocker, server: socket.socket
) -> None:
    server.close()
    with pytest.raises(
        SpawnFailed, match=r"did not start in 2 s\. The notebook runs on cpu1; waiting for its answer\."
    ):
        start(places.spawner("alice"))
    engine.script = [status("running"), status("running"), status("failed", "task: non-zero exit (1)", 1)]
    with pytest.raises(SpawnFailed, match="failed, exit code 1"):
        start(places.spawner("bob"))
    assert engine.live == {}


def test_an_engine_that_refuses_is_quoted(places: Places, engine: FakeDocker) -> None:
    engine.refusal = refused("invalid mount")
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner())
    assert message(caught.value) == "The swarm refused the notebook: invalid mount"


def test_an_engine_that_is_gone_is_still_told(places: Places, engine: FakeDocker) -> None:
    engine.failure = refused("the swarm has no leader")
    with pytest.raises(SpawnFailed, match="no leader"):
        start(places.spawner())


@pytest.mark.parametrize(("closing", "outcome"), [(False, SpawnFailed), (True, asyncio.CancelledError)])
def test_a_cancelled_start_removes_its_service_and_fails_for_jupyterhub_unless_the_hub_ends(
    places: Places, engine: FakeDocker, closing: bool, outcome: type[BaseException]
) -> None:
    SwarmhubSpawner.queue.closing = closing
    engine.script = [status("preparing")]
    spawner = places.spawner()

    async def cancel() -> None:
        task = asyncio.create_task(spawner.start())
        while not engine.live:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(outcome):
            await task

    asyncio.run(cancel())
    assert engine.live == {}


def test_a_server_that_is_stopped_while_it_starts(places: Places, engine: FakeDocker) -> None:
    engine.script = [status("pending", "no suitable node")]
    spawner = places.spawner()

    async def stop() -> None:
        task = asyncio.create_task(spawner.start())
        while not spawner.object_id:
            await asyncio.sleep(0.01)
        assert await spawner.poll() is None
        await spawner.stop()
        with pytest.raises(SpawnFailed, match="cancelled"):
            await task

    asyncio.run(stop())
    assert engine.live == {}


def test_who_waits_for_a_card_does_not_block_the_others(
    places: Places, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "SLOT_SECONDS", 0.2)
    waiting = [places.spawner(f"waiting{number}") for number in range(4)]
    lucky = places.spawner("lucky")

    async def crowd() -> None:
        engine.script = [status("pending", "no suitable node")]
        tasks = [asyncio.create_task(spawner.start()) for spawner in waiting]
        while len(engine.live) < 4:
            await asyncio.sleep(0.01)
        engine.script = [status("running")]
        assert await asyncio.wait_for(lucky.start(), 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(crowd())


def test_a_turn_that_does_not_come_is_no_start_that_failed_slowly(places: Places, engine: FakeDocker) -> None:
    waiting = [places.spawner(f"waiting{number}") for number in range(4)]
    late = places.spawner("late")
    late.settings = dataclasses.replace(late.settings, start_timeout=1)

    async def crowd() -> None:
        engine.script = [status("pending", "no suitable node")]
        tasks = [asyncio.create_task(spawner.start()) for spawner in waiting]
        while len(engine.live) < 4:
            await asyncio.sleep(0.01)
        with pytest.raises(SpawnFailed, match="your turn did not come"):
            await late.start()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        engine.script = [status("running")]
        assert await places.spawner("later").start()  # no turn was lost

    asyncio.run(crowd())


def test_a_service_left_by_an_earlier_start_is_replaced(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner()
    start(spawner)
    start(spawner)
    assert len(engine.live) == 1
    assert engine.removed == [spawner.object_name]


def test_progress_tells_what_the_swarm_says(places: Places) -> None:
    spawner = places.spawner()
    spawner._task = {"Status": status("pending", "no suitable node (insufficient resources on 3 nodes)")}

    async def first() -> dict[str, t.Any]:
        return await anext(aiter(spawner.progress()))

    assert asyncio.run(first()) == {
        "progress": 20,
        "message": "Waiting for a place: no suitable node (insufficient resources on 3 nodes)",
    }


# --- choices --------------------------------------------------------------------------------------------------------


def test_a_member_of_the_group_gets_a_card(places: Places, engine: FakeDocker) -> None:
    engine.cards = {"gpu1": ("a",)}
    start(places.spawner(groups=["gpu-users"]), profile="gpu")
    assert engine.created[0]["labels"]["swarmhub.profile"] == "gpu"
    assert engine.created[0]["task_template"]["ContainerSpec"]["Image"] == "torch:1"


@pytest.mark.parametrize(("profile", "code"), [("gpu", 403), ("nope", 400), (["cpu"], 400)])
def test_a_profile_that_cannot_be_had(places: Places, engine: FakeDocker, profile: t.Any, code: int) -> None:
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner(), profile=profile)
    assert caught.value.status_code == code
    assert engine.created == []


def test_an_administrator_chooses_the_node_for_one_start(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner("admin", admin=True)
    start(spawner, node="cpu1")
    start(spawner)
    constraints = [service["task_template"]["Placement"]["Constraints"] for service in engine.created]
    assert constraints == [
        ["node.labels.calculation_type==cpu", "node.id==id-cpu1"],
        ["node.labels.calculation_type==cpu"],
    ]
    assert spawner.orm_spawner.user_options == {"profile": "cpu"}


@pytest.mark.parametrize(
    ("admin", "node", "code", "words"),
    [
        (False, "cpu1", 403, "Only an administrator"),
        (True, "cpu9", 400, "no node is 'cpu9'"),
        (True, "twin", 400, "2 nodes are called 'twin'"),
    ],
)
def test_a_node_that_cannot_be_chosen(places: Places, admin: bool, node: str, code: int, words: str) -> None:
    with pytest.raises(SpawnFailed) as caught:
        start(places.spawner(admin=admin), node=node)
    assert caught.value.status_code == code
    assert words in message(caught.value)


def test_the_form_becomes_options(places: Places) -> None:
    spawner = places.spawner(groups=["gpu-users"])
    assert spawner.run_options_from_form({"profile": ["gpu"], "_xsrf": ["x"]}) == {"profile": "gpu"}
    assert "profile-gpu" in asyncio.run(spawner.get_options_form())


# --- poll and stop --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"]
)
def test_a_task_on_its_way_is_alive(places: Places, engine: FakeDocker, state: str) -> None:
    spawner = places.spawner()
    start(spawner)
    engine.live[spawner.object_id]["script"] = [status(state)]
    assert asyncio.run(spawner.poll()) is None


@pytest.mark.parametrize("state", ["complete", "failed", "rejected", "shutdown", "orphaned"])
def test_a_task_that_ended_is_not_and_its_service_goes(places: Places, engine: FakeDocker, state: str) -> None:
    spawner = places.spawner()
    start(spawner)
    engine.live[spawner.object_id]["script"] = [status(state, "words")]
    assert asyncio.run(spawner.poll()) == f"{state}: words"
    asyncio.run(spawner.run_post_stop_hook())
    assert engine.live == {}


def test_a_task_on_a_lost_node_has_ended(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner()
    start(spawner)
    engine.desired = "shutdown"
    assert asyncio.run(spawner.poll()) == "its node went down"


def test_a_hub_that_comes_back_finds_its_notebook(places: Places) -> None:
    spawner = places.spawner()
    start(spawner)
    state = spawner.get_state()
    again = places.spawner("alice2")
    again.load_state(state)
    assert again.object_name == spawner.object_name
    assert asyncio.run(again.poll()) is None


def test_an_engine_without_an_answer_ends_nobodys_work(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner()
    start(spawner)
    engine.failure = refused("rpc error: no leader")
    assert asyncio.run(spawner.poll()) is None
    asyncio.run(spawner.run_post_stop_hook())
    engine.failure = None
    assert len(engine.live) == 1


def test_a_running_service_survives_a_hub_that_loses_track(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner()
    start(spawner)
    asyncio.run(spawner.run_post_stop_hook())
    assert len(engine.live) == 1


def test_stop_removes_the_service_and_minds_none_that_is_gone(places: Places, engine: FakeDocker) -> None:
    spawner = places.spawner()
    start(spawner)
    asyncio.run(spawner.stop())
    asyncio.run(spawner.stop())
    assert engine.live == {}
    assert asyncio.run(spawner.poll()) == 0
    assert spawner.will_resume is False
