"""Day two on the lab that is up: the cluster grows while people are on it."""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from .cards import CARDS, remove_users, timed_start, what_it_waits_for, where
from .conftest import SPARE, Lab, PlayResult, bring_bare, carry_out, lab_command, run_playbook
from .kills import SEEDS, Whole, kill_and_mend, run_whole

HEARTBEAT = "{{json .Swarm.Cluster.Spec.Dispatcher}}"
PEOPLE = [f"day-two-{number}" for number in range(10)]


def tasks(lab: Lab) -> set[str]:
    """The ids of all running tasks of the cluster."""
    ids = lab.docker("service", "ls", "--quiet").split()
    return set(lab.docker("service", "ps", "--quiet", "--no-trunc", "--filter=desired-state=running", *ids).split())


@pytest.fixture(scope="module")
def grown(lab: Lab, pool: ThreadPoolExecutor) -> t.Iterator[Lab]:
    """The lab with a spare host in its inventory that has nothing of swarmhub yet, and ten notebooks at work."""
    sessions = list(pool.map(lab.add_user, PEOPLE))
    try:
        lab_command("add", SPARE)
        for session in sessions:
            session.start(lab.profile(cards=False))
        for session in sessions:
            session.wait_until_ready()
        yield Lab()
    finally:
        list(pool.map(lab.remove_user, sessions))
        carry_out(lab)


def add_node(*arguments: str) -> PlayResult:
    """Run the playbook for the spare host, which must end well."""
    result = run_playbook("playbooks/add_node.yml", "-e", f"node={SPARE}", *arguments, timeout=600)
    assert result.code == 0, result.output
    return result


def is_part_of_the_cluster(lab: Lab) -> None:
    """The spare host is a node with its labels and its cards, and nothing is left to do."""
    (node,) = lab.inspect("node", lab.ssh(SPARE, "docker info --format '{{.Swarm.NodeID}}'").strip())
    assert (node["Status"]["State"], node["Spec"]["Labels"]["calculation_type"]) == ("ready", "gpu")
    assert len(node["Description"]["Resources"]["GenericResources"]) == 2
    again = add_node()
    assert set(again.changed.values()) == {0}, again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say which node"),
        (("-e", "node=gpu9"), "gpu9 is no host of the inventory"),
        (("-e", "node=mgr1"), "mgr1 is not a manager or worker and nothing else"),
        (("-e", f"node={SPARE}", "-e", "manager=cpu1"), "cpu1 is no manager to talk to"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nobody_contacted(
    grown: Lab, arguments: tuple[str, ...], words: str
) -> None:
    result = run_playbook("playbooks/add_node.yml", *arguments)
    assert result.code != 0
    assert words in result.output
    assert result.stats == {}
    assert grown.docker("node", "ls", "--filter", f"name={SPARE}", "--quiet") == ""


def test_a_closed_port_is_told_before_anything_changes(grown: Lab) -> None:
    manager = grown.variables[grown.manager]["ansible_host"]
    grown.ssh(SPARE, f"ip route add unreachable {manager}/32")
    try:
        result = run_playbook("playbooks/add_node.yml", "-e", f"node={SPARE}")
    finally:
        grown.ssh(SPARE, f"ip route del unreachable {manager}/32")
    assert result.code != 0
    assert f"{SPARE} cannot reach {manager} at TCP port 2377" in result.output
    assert set(result.changed.values()) == {0}
    grown.ssh(SPARE, "test ! -e /etc/swarmhub")


def test_check_mode_lists_what_would_be_done(grown: Lab) -> None:
    result = add_node("--check")
    assert f"{SPARE}" in result.stats
    assert "docker.io not installed" in result.output
    grown.ssh(SPARE, "test ! -e /etc/swarmhub")


def test_a_node_is_added_under_ten_notebooks_and_touches_nothing_else(grown: Lab) -> None:
    before = tasks(grown)
    assert len(before) >= len(PEOPLE) + 2  # hub and proxy
    # What site.yml would mend, and what it would change: none of it is this playbook's.
    spoilt = "/etc/needrestart/conf.d/swarmhub.conf"
    grown.ssh(grown.manager, f"echo '# by hand' >> {spoilt}")
    hub = grown.inspect("service", "swarmhub_hub")[0]["Version"]
    heartbeat = grown.docker("info", "--format", HEARTBEAT)

    result = add_node("-e", "hub_idle_timeout=7777", "-e", "swarm_dispatcher_heartbeat=9")

    assert set(result.stats) == {SPARE, grown.manager}
    assert result.changed[grown.manager] == 1, result.output  # the labels of the new node
    assert before <= tasks(grown)
    assert grown.inspect("service", "swarmhub_hub")[0]["Version"] == hub
    assert "by hand" in grown.ssh(grown.manager, f"cat {spoilt}")
    assert grown.docker("info", "--format", HEARTBEAT) == heartbeat
    assert [row for row in result.output.splitlines() if "another node" in row and SPARE in row], result.output
    print(f"add_node.yml, from nothing to a notebook that was proven: {result.seconds:.0f} s")
    is_part_of_the_cluster(grown)
    whole = run_playbook("site.yml")
    assert whole.code == 0, whole.output
    assert whole.changed == {**dict.fromkeys(grown.variables, 0), grown.manager: 1}, whole.output


def test_a_node_on_which_somebody_works_is_not_removed(grown: Lab) -> None:
    user = grown.add_user("day-two-busy")
    try:
        user.start(grown.profile(cards=True), SPARE)
        user.wait_until_ready()
        result = run_playbook(
            "playbooks/remove_node.yml", "-e", f"node={SPARE}", "-e", "confirm=yes", "-e", "drain_wait=0"
        )
        assert result.code != 0
        assert f"Still at work on {SPARE}: {user.name}" in " ".join(result.output.split())
        assert [host for host, _ in grown.containers(*grown.services(user.name))] == [SPARE]
        grown.ssh(SPARE, "test -e /etc/swarmhub && test -e /etc/docker/daemon.json")
    finally:
        grown.remove_user(user)


def test_a_node_is_removed_and_keeps_nothing_of_ours(grown: Lab) -> None:
    before = tasks(grown)
    result = run_playbook("playbooks/remove_node.yml", "-e", f"node={SPARE}", "-e", "confirm=yes")
    assert result.code == 0, result.output
    assert set(result.stats) == {SPARE, grown.manager}
    assert grown.docker("node", "ls", "--filter", f"name={SPARE}", "--quiet") == ""
    grown.ssh(SPARE, "test ! -e /etc/swarmhub && test ! -e /etc/docker/daemon.json")
    assert before == tasks(grown)
    print(f"remove_node.yml: {result.seconds:.0f} s")


def test_a_host_of_another_swarm_is_refused_before_anything_changes(grown: Lab) -> None:
    grown.ssh(SPARE, "docker swarm init --advertise-addr 127.0.0.1")
    try:
        result = run_playbook("playbooks/add_node.yml", "-e", f"node={SPARE}")
    finally:
        grown.ssh(SPARE, "docker swarm leave --force")
    assert result.code != 0
    assert "another swarm" in result.output
    assert set(result.changed.values()) == {0}
    grown.ssh(SPARE, "test ! -e /etc/swarmhub")


@pytest.mark.long
@pytest.mark.usefixtures("grown")
def test_a_dead_node_is_forgotten_also_when_the_inventory_has_it_no_more(lab: Lab) -> None:
    lab_command("add", SPARE)
    add_node()
    lab_command("remove", SPARE)  # its power fails
    begun = time.monotonic()
    while lab.docker("node", "inspect", "--format={{.Status.State}}", SPARE) != "down":
        assert time.monotonic() < begun + 180
        time.sleep(1)
    print(f"a node whose power fails is Down after {time.monotonic() - begun:.0f} s")
    result = run_playbook("playbooks/remove_node.yml", "-e", f"node={SPARE}", "-e", "confirm=yes")
    assert result.code == 0, result.output
    assert lab.docker("node", "ls", "--filter", f"name={SPARE}", "--quiet") == ""


@pytest.fixture(scope="module")
def whole(grown: Lab) -> Whole:
    """A run that nobody killed."""
    bring_bare(grown)
    return run_whole("playbooks/add_node.yml", "-e", f"node={SPARE}")


@pytest.mark.long
@pytest.mark.usefixtures("grown")
def test_people_who_wait_for_cards_have_a_new_nodes_at_once_and_prove_them(lab: Lab, pool: ThreadPoolExecutor) -> None:
    carry_out(lab)
    lab_command("add", SPARE)
    count = sum(CARDS.values())
    users = list(pool.map(lab.add_user, [f"day-two-card-{number}" for number in range(count + 2)]))
    try:
        list(pool.map(timed_start, users[:count], [lab.profile(cards=True)] * count))
        for user in users[count:]:
            pool.submit(user.start, lab.profile(cards=True))
            what_it_waits_for(user)
        result = add_node()
        for user in users[count:]:
            user.wait_until_ready()
        assert {where(Lab(), user)[0] for user in users[count:]} == {SPARE}
        rows = [row for row in result.output.splitlines() if "another node" in row and SPARE in row]
        assert not [row for row in rows if lab.profile(cards=True) in row], result.output
        print(f"two who waited for a card had {SPARE}'s; the run {result.seconds:.0f} s")
    finally:
        remove_users(lab, pool, users)


@pytest.mark.long
@SEEDS
def test_a_killed_run_is_mended_by_the_next(grown: Lab, whole: Whole, seed: int) -> None:
    before = tasks(grown)
    bring_bare(grown)
    kill_and_mend(seed, whole, "playbooks/add_node.yml", "-e", f"node={SPARE}")
    assert before == tasks(grown)
    is_part_of_the_cluster(Lab())
