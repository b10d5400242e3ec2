"""Cards on a lab that is up: who holds which, who waits for them, who sees them, and what leaves notebooks alone."""

from __future__ import annotations

import datetime
import json
import re
import statistics
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.probe_session import HubError, TokenSession
from playwright.sync_api import Page, expect

from .cards import (
    CARDS,
    held_cards,
    notebook_tasks,
    pending,
    remove_users,
    seen_cards,
    spoil,
    timed_start,
    what_it_waits_for,
    where,
)
from .conftest import Lab, edit_hosts, run_playbook, screenshot, sign_in

#: Seconds from a card that is free to the service that gets it, and how much slower than usual that one may start.
RELEASE_SECONDS, QUEUED_START = 2, 1.3
NEW_CARD = "GPU-00000000-1111-4222-8333-444444444444"
#: Images that ask for all cards by themselves.
GREEDY = {"greedy-toolkit": "NVIDIA_VISIBLE_DEVICES", "greedy-swarm": "DOCKER_RESOURCE_GPU"}


@pytest.fixture(scope="module")
def more_profiles(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The lab's profiles, and besides them four cards at once, one that fits every node, and the greedy images."""
    images = lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    image = next(reference for reference in images if "/notebook:" in reference)  # the newest
    repository = image.rpartition("/")[0]
    for name, variable in GREEDY.items():
        greedy = f"{repository}/{name}:1"
        recipe = f"FROM {image}\\nENV {variable}=all\\n"
        lab.ssh(lab.manager, f"printf '{recipe}' | docker build --quiet --tag {greedy} -")
        lab.docker("--config", "/etc/swarmhub/docker", "push", "--quiet", greedy)
    profiles = lab.variables[lab.manager]["hub_profiles"]
    cpu, gpu = (next(each for each in profiles if each["slug"] == lab.profile(cards=cards)) for cards in (False, True))
    anywhere = {**cpu, "default": False, "constraints": []}
    more = [
        {**gpu, "display_name": "Four", "slug": "four", "gpus": 4},
        {**anywhere, "display_name": "Anywhere", "slug": "anywhere"},
        *(
            {
                **anywhere,
                "display_name": name,
                "slug": name,
                "spawner_override": {**anywhere["spawner_override"], "image": f"{repository}/{name}:1"},
            }
            for name in GREEDY
        ),
    ]
    variables = tmp_path_factory.mktemp("profiles") / "profiles.json"
    variables.write_text(json.dumps({"hub_profiles": [*profiles, *more]}))
    try:
        result = run_playbook("site.yml", "-e", f"@{variables}")
        assert result.code == 0, result.output
        yield
    finally:
        result = run_playbook("site.yml")
        assert result.code == 0, result.output


# --- packing ---------------------------------------------------------------------------------------------------------


def packed_once(lab: Lab, pool: ThreadPoolExecutor, together: bool) -> list[str]:
    """Start two notebooks of one card and one of four, at the same moment or in this order; return where they run."""
    slugs = [lab.profile(cards=True), lab.profile(cards=True), "four"]
    users = [lab.add_user(f"e2e-packed-{number}") for number in range(3)]
    try:
        list((pool.map if together else map)(timed_start, users, slugs))
        return [where(lab, user)[0] for user in users]
    finally:
        remove_users(lab, pool, users)


def test_two_small_ones_leave_room_for_a_big_one(lab: Lab, pool: ThreadPoolExecutor, more_profiles: None) -> None:
    assert packed_once(lab, pool, together=True) == ["gpu1", "gpu1", "gpu2"]


@pytest.mark.long
@pytest.mark.parametrize("together", [True, False])
def test_packing_ten_times_out_of_ten(lab: Lab, pool: ThreadPoolExecutor, more_profiles: None, together: bool) -> None:
    assert [packed_once(lab, pool, together) for _ in range(10)] == [["gpu1", "gpu1", "gpu2"]] * 10


@pytest.fixture(scope="module")
def holders(lab: Lab, pool: ThreadPoolExecutor, more_profiles: None) -> Iterator[list[TokenSession]]:
    """Users who hold all cards of the lab, one each; a test that ends one puts another one in the place."""
    users = [lab.add_user(f"e2e-card-{number}") for number in range(sum(CARDS.values()))]
    slug = lab.profile(cards=True)
    try:
        list(pool.map(lambda user: timed_start(user, slug), users))
        yield users
    finally:
        remove_users(lab, pool, users)


# --- who holds and sees which cards ----------------------------------------------------------------------------------


def test_six_notebooks_hold_six_cards_and_each_sees_its_own(lab: Lab, holders: list[TokenSession]) -> None:
    assert sorted(where(lab, user)[0] for user in holders) == ["gpu1"] * CARDS["gpu1"] + ["gpu2"] * CARDS["gpu2"]
    held = [held_cards(lab, user) for user in holders]
    assert len({card for cards in held for card in cards}) == len(holders)
    assert all(len(cards) == 1 for cards in held)
    assert [seen_cards(lab, user) for user in holders] == held


@pytest.mark.parametrize("slug", ["anywhere", *GREEDY])
def test_without_a_reservation_no_card_is_seen_on_a_gpu_node(lab: Lab, holders: list[TokenSession], slug: str) -> None:
    session = lab.add_user(f"e2e-{slug}")
    try:
        session.start(slug, node="gpu1")
        session.wait_until_ready()
        host, container = where(lab, session)
        assert (host, seen_cards(lab, session)) == ("gpu1", [])
        image = lab.inspect("container", container, host=host)[0]["Image"]
        variables = lab.inspect("image", image, host=host)[0]["Config"]["Env"]
        greedy = [f"{GREEDY[slug]}=all"] if slug in GREEDY else []
        assert [text for text in variables if text.endswith("=all")] == greedy
    finally:
        lab.remove_user(session)


# --- the queue -------------------------------------------------------------------------------------------------------


def restart_hub(lab: Lab, gracefully: bool) -> None:
    """Start the hub again, and return when it answers."""
    if gracefully:
        lab.docker("service", "update", "--force", "--quiet", "swarmhub_hub", timeout=120)
    else:
        ((host, container),) = lab.containers("swarmhub_hub")
        lab.ssh(host, f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {container})")
        while (host, container) in lab.containers("swarmhub_hub") or not lab.containers("swarmhub_hub"):
            time.sleep(0.5)


@pytest.mark.parametrize("gracefully", [True, pytest.param(False, marks=pytest.mark.long)])
def test_who_waits_is_told_so_and_starts_in_turn_as_soon_as_a_card_is_free_also_with_another_hub(
    lab: Lab, pool: ThreadPoolExecutor, holders: list[TokenSession], gracefully: bool
) -> None:
    slug = lab.profile(cards=True)
    usual = []
    for user in holders[:3]:
        user.stop()
        usual.append(timed_start(user, slug))

    names = [f"e2e-waiter-{number}" for number in (1, 2, 3)]
    waiters = []
    for number, name in enumerate(names, 1):
        waiters.append(lab.add_user(name))
        pool.submit(waiters[-1].start, slug)
        assert what_it_waits_for(waiters[-1]) == f"Waiting for 1 card, number {number} in the queue: 0 of 6 are free"
    restart_hub(lab, gracefully)
    deadline = time.monotonic() + 60
    while not all(is_pending(session) for session in waiters):
        assert time.monotonic() < deadline, "the waiters were not taken up again"
        time.sleep(0.5)

    created, ready = [], []
    for number, session in enumerate(waiters):
        assert [bool(lab.services(name)) for name in names] == [place < number for place in range(3)]
        at = pool.submit(ready_at, session)
        free = end_one(lab, holders)
        holders.append(session)
        seen = at.result(60)
        (service,) = lab.inspect("service", *lab.services(session.name))
        begun = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", service["CreatedAt"])).timestamp()
        created.append(begun - free)
        ready.append(seen - begun)
    for what, seconds in {"usual": usual, "service after the release": created, "ready after that": ready}.items():
        print(f"{what}: {', '.join(f'{each:.2f}' for each in seconds)} s")
    assert 0 < max(created) < RELEASE_SECONDS
    assert statistics.median(ready) < QUEUED_START * statistics.median(usual)


def ready_at(session: TokenSession) -> float:
    """Wait for a server, and return when it was ready, in Unix seconds."""
    session.wait_until_ready()
    return time.time()


def end_one(lab: Lab, holders: list[TokenSession]) -> float:
    """End the notebook of the one who has held a card for longest; return when its container ended, in Unix seconds."""
    leaving = holders.pop(0)
    host, container = where(lab, leaving)
    begun = int(time.time())
    lab.remove_user(leaving)
    events = ["events", "--since", str(begun), "--until", str(int(time.time()) + 1), "--format", "{{.TimeNano}}"]
    ended = lab.docker(*events, "--filter", f"container={container}", "--filter", "event=die", host=host)
    return int(ended) / 1e9


def is_pending(session: TokenSession) -> bool:
    """Whether the hub, which may just be starting, says that the server is on its way."""
    try:
        return (session.server() or {}).get("pending") == "spawn"
    except (HubError, ValueError):
        return False


def test_a_person_who_waits_reads_why_and_may_cancel(lab: Lab, page: Page, holders: list[TokenSession]) -> None:
    session = lab.session(lab.access["admin_user"])
    if session.server() is not None:
        session.stop()
    sign_in(lab, page)
    page.goto(f"{lab.access['url'].rstrip('/')}/hub/spawn")
    page.check(f"#profile-{lab.profile(cards=True)}")
    page.click("#spawn_form button[type=submit]")
    try:
        expect(page.locator("#progress-message")).to_contain_text("number 1 in the queue")
        page.screenshot(path=screenshot("queue"))
        page.click("#cancel-start")
        page.wait_for_url("**/hub/home")
        assert session.server() is None
        assert lab.services(session.name) == []
    finally:
        if session.server() is not None:
            session.stop()


# --- what is wrong with cards ----------------------------------------------------------------------------------------


def test_faults_are_told_with_their_cure_and_stop_no_notebook(
    lab: Lab, holders: list[TokenSession], mended: None
) -> None:
    before = notebook_tasks(lab, holders)
    spoil(lab, "gpu1", lambda told: told.update(fault="not loaded"))
    spoil(lab, "gpu2", lambda told: told.update(library="535.261.03"))
    result = run_playbook("site.yml")
    assert result.code == 0, result.output
    waits = pending(result.output)
    assert waits["gpu1"].startswith("gpu: the driver is installed and not loaded"), result.output
    assert waits["gpu2"].startswith("gpu: the loaded driver and its libraries have different versions"), result.output
    assert all("reboot it and run again" in words for words in waits.values())

    spoil(lab, "gpu1", lambda told: told.update(fault=None))
    spoil(lab, "gpu1", lambda told: told["cards"][0].update(uuid=NEW_CARD))
    spoil(lab, "gpu2", lambda told: told.update(library=told["driver"]))
    spoil(lab, "gpu2", lambda told: told["cards"][1].update(lost=True))
    result = run_playbook("site.yml")
    assert result.code == 0, result.output
    waits = pending(result.output)
    assert re.search(rf"card GPU-\S+ is gone, {NEW_CARD} is not advertised yet", waits["gpu1"]), result.output
    assert "card 0000:02:00.0 does not answer" in waits["gpu2"], result.output
    assert sum(result.changed.values()) == 0, result.output
    assert notebook_tasks(lab, holders) == before


# --- what leaves notebooks alone -------------------------------------------------------------------------------------


def test_a_second_run_a_new_label_and_a_new_node_stop_no_notebook(
    lab: Lab, holders: list[TokenSession], copied_inventory: Path
) -> None:
    before = notebook_tasks(lab, holders)
    result = run_playbook("site.yml")
    assert result.code == 0, result.output

    def label(everything: dict[str, t.Any]) -> None:
        everything["hosts"]["gpu1"]["node_labels"] = {"rack": "r1"}

    edit_hosts(copied_inventory, label)
    result = run_playbook("site.yml", inventory=copied_inventory)
    assert result.code == 0, result.output
    (gpu1,) = lab.inspect("node", "gpu1")
    assert gpu1["Spec"]["Labels"]["rack"] == "r1"
    lab.docker("node", "update", "--label-rm", "rack", "gpu1")

    lab.docker("swarm", "leave", host="cpu1")
    result = run_playbook("site.yml")
    assert result.code == 0, result.output
    assert result.changed["cpu1"] > 0, result.output
    assert notebook_tasks(lab, holders) == before
