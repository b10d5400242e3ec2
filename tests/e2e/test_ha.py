"""Three managers (`make lab LAYOUT=ha`): the loss of one, managers or databases that the hub cannot reach, and day two.

The proxy stays on the first manager (mode dnsrr); hub and leader are brought to the others.
"""

from __future__ import annotations

import re
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, TokenSession, tls_context

from .conftest import Lab, PlayResult, lab_command, run_playbook
from .outage import (
    HUB_SECONDS,
    LOCKS,
    OURS,
    SESSIONS,
    SWARMS,
    heartbeat_of,
    hub_answers,
    lost,
    node_state,
    parted,
    places,
    power_cut,
    seconds_until,
    sql,
)

pytestmark = pytest.mark.long

SETTLE_SECONDS = 300
CONFIRMED = ("-e", "confirm=yes")
LEASE = 20  # seconds after which the database's server frees a silent hub's lock
HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
# Where hubs are at work; one that waits for the lock has looked for a moment whether the database answers.
AT_WORK = """
SELECT count(DISTINCT client_addr) FROM pg_stat_activity
WHERE usename = 'jupyterhub' AND application_name <> 'swarmhub-lock' AND backend_start < now() - interval '2 s'
"""


def hub_is_on(lab: Lab, manager: str) -> bool:
    return [host for host, _ in lab.containers("swarmhub_hub")] == [manager]


def managers(lab: Lab, gone: str = "") -> dict[str, str]:
    """What the managers are to each other: Leader, Reachable or Unreachable."""
    # The first is none for a moment.
    asked = next(host for host in lab.inventory["managers"]["hosts"][1:] if host != gone)
    listed = lab.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}", host=asked)
    return {line.split()[0]: line.split()[2] for line in listed.splitlines() if not line.endswith(" ")}


def leader(lab: Lab) -> str:
    return next(host for host, status in managers(lab).items() if status == "Leader")


def settled(lab: Lab) -> bool:
    """Whether the managers are at one: one that was cut off costs them their leader once it reaches them again."""
    return sorted(managers(lab).values()) == ["Leader", "Reachable", "Reachable"]


def bring_hub(lab: Lab, *, to_leader: bool) -> str:
    """Bring the hub to a manager other than the first, which leads the swarm, or does not; return its name."""
    first, *others = lab.inventory["managers"]["hosts"]
    seconds_until(lambda: settled(lab), "one mind of the managers", SETTLE_SECONDS)
    if to_leader and leader(lab) == first:
        lab.docker("node", "demote", first, host=others[0])
        seconds_until(lambda: leader(lab) != first, "another leader", HUB_SECONDS)
        lab.docker("node", "promote", first, host=others[0])
        seconds_until(lambda: node_state(lab, first) == "ready", "the first manager's answer", HUB_SECONDS)
    wanted = leader(lab) if to_leader else next(other for other in others if other != leader(lab))
    spare = next(other for other in others if other != wanted)
    lab.docker("node", "update", "--availability", "drain", spare)
    try:
        if hub_is_on(lab, first):
            lab.docker("service", "update", "--force", "--quiet", "swarmhub_hub", timeout=120)
        seconds_until(lambda: hub_is_on(lab, wanted), f"the hub on {wanted}", HUB_SECONDS)
    finally:
        lab.docker("node", "update", "--availability", "active", spare)
    seconds_until(lambda: hub_answers(lab) and sql(lab, SESSIONS) == "1", "the hub's answer", HUB_SECONDS)
    assert (leader(lab) == wanted) is to_leader
    return wanted


@pytest.fixture(scope="module")
def browser(lab: Lab) -> FormSession:
    """The administrator, signed in with the cookies that a browser would have."""
    admin = (lab.access["admin_user"], lab.access["admin_password"])
    session = FormSession(lab.access["url"], *admin, start_timeout=60, request_timeout=30, tls=tls_context(None, True))
    session.sign_in()
    return session


@pytest.mark.parametrize(("heartbeat", "leads"), [(OURS, False), (OURS, True), (SWARMS, False), (SWARMS, True)])
def test_the_hub_moves_when_its_manager_has_no_power(
    lab: Lab, notebook: TokenSession, browser: FormSession, heartbeat: int, leads: bool
) -> None:
    users = browser.request("GET", "hub/api/users").json()
    with heartbeat_of(lab, heartbeat):
        manager = bring_hub(lab, to_leader=leads)
        before = places(lab, [notebook])
        with Kernel(notebook, 30) as kernel:
            kernel.run("x = 42")
            held = sql(lab, HOLDER)
            with power_cut(lab, manager) as off:
                assert not hub_answers(lab)
                freed = seconds_until(lambda: sql(lab, HOLDER) != held, "the lock's release", 2 * LEASE, off)
                assert kernel.run("print(x)") == "42\n"
                limit = (7 if leads else 4) * heartbeat + 2 * HUB_SECONDS
                down = seconds_until(lambda: node_state(lab, manager) == "down", f"{manager}'s being down", limit, off)
                seconds = seconds_until(lambda: hub_answers(lab), "the hub elsewhere", limit, off)
                assert kernel.run("print(x)") == "42\n"
                # Cookies of before.
                assert browser.request("GET", "hub/api/user").json()["name"] == lab.access["admin_user"]
                assert {user["name"] for user in browser.request("GET", "hub/api/users").json()} == {
                    user["name"] for user in users
                }
                notebook.wait_until_ready()
                ((moved, _),) = lab.containers("swarmhub_hub")
                assert moved != manager
        gone = lost(before, places(lab, [notebook]))
        print(
            f"heartbeat {heartbeat} s, {manager} {'leads' if leads else 'does not lead'}: its lock was free after "
            f"{freed:.0f} s, it was down after {down:.0f} s, the hub answered on {moved} after {seconds:.0f} s; "
            f"notebooks lost: {len(gone)}"
        )
        assert gone == []


class Watch:
    """Counts, as often as it is asked, the locks that are held and the places where hubs are at work."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.locks: list[int] = []
        self.at_work: list[int] = []

    def until(self, happened: t.Callable[[], bool], what: str, limit: float, since: float | None = None) -> float:
        """See seconds_until."""

        def look() -> bool:
            self.locks.append(int(sql(self.lab, LOCKS)))
            self.at_work.append(int(sql(self.lab, AT_WORK)))
            return happened()

        return seconds_until(look, what, limit, since)


def test_a_manager_cut_off_from_the_others_and_not_from_the_database_makes_no_second_hub(
    lab: Lab, notebook: TokenSession
) -> None:
    manager = bring_hub(lab, to_leader=False)
    others = [host for host in lab.inventory["managers"]["hosts"] if host != manager]
    before = places(lab, [notebook])
    watch = Watch(lab)
    with parted(lab, manager, others) as cut:
        down = watch.until(lambda: node_state(lab, manager) == "down", f"{manager}'s being down", 4 * OURS, cut)
        second = watch.until(lambda: sql(lab, SESSIONS) == "2", "the second hub", 4 * OURS + HUB_SECONDS, cut)
        waits = time.monotonic()
        watch.until(lambda: time.monotonic() - waits > LEASE, "a while", HUB_SECONDS)
        assert set(watch.locks) == {1}
    healed = time.monotonic()
    seconds = watch.until(lambda: hub_answers(lab) and sql(lab, SESSIONS) == "1", "the one hub", SETTLE_SECONDS, healed)
    print(
        f"{manager} was down after {down:.0f} s, a second hub waited from {second:.0f} s on, and one hub answered "
        f"{seconds:.0f} s after the end; in {len(watch.locks)} looks never more than "
        f"{max(watch.locks)} lock, {max(watch.at_work)} hub at work"
    )
    assert max(watch.locks) == max(watch.at_work) == 1
    assert lost(before, places(lab, [notebook])) == []
    notebook.wait_until_ready()


def test_a_hub_that_does_not_reach_its_database_ends_before_its_lock_is_free(lab: Lab, notebook: TokenSession) -> None:
    manager = bring_hub(lab, to_leader=False)
    ((_, container),) = lab.containers("swarmhub_hub")
    before = places(lab, [notebook])

    def ended() -> bool:
        return lab.docker("ps", "--quiet", "--no-trunc", host=manager).find(container) < 0

    (database,) = lab.inventory["postgres_server"]["hosts"]
    held = sql(lab, HOLDER)
    with parted(lab, database, [manager]) as cut:
        end = seconds_until(ended, "the hub's end", LEASE, cut)
        free = seconds_until(lambda: sql(lab, HOLDER) != held, "the lock's release", 2 * LEASE, cut)
    seconds = seconds_until(lambda: hub_answers(lab), "the hub's return", 3 * HUB_SECONDS, cut)
    print(
        f"the hub ended after {end:.0f} s, its lock was free after {free:.0f} s; a hub answered after {seconds:.0f} s"
    )
    assert end < free
    assert lost(before, places(lab, [notebook])) == []


def test_the_proxy_follows_a_lost_first_manager_with_one_run(lab: Lab, notebook: TokenSession) -> None:
    """In mode dnsrr its address is one manager's; the name that people know is the site's to move."""
    first, second, _ = lab.inventory["managers"]["hosts"]
    before = places(lab, [notebook])
    elsewhere = Lab()
    elsewhere.manager = second
    elsewhere.access["url"] = f"http://{lab.variables[second]['ansible_host']}:8000"
    led = ", which led," if leader(lab) == first else ""
    with power_cut(lab, first) as off:
        result = run_playbook("site.yml", "-e", "skip_unreachable=true", timeout=900)
        assert result.code == 0, result.output
        seconds = seconds_until(lambda: hub_answers(elsewhere), "the hub behind the proxy", 900, off)
        elsewhere.session(notebook.name).wait_until_ready()
        assert lost(before, places(elsewhere, [notebook])) == []
        print(f"site.yml, run at once, had the proxy serve on {second} {seconds:.0f} s after {first}{led} was lost")
    result = run_playbook("site.yml", timeout=900)
    assert result.code == 0, result.output
    seconds_until(lambda: hub_answers(lab), "the hub at its address", HUB_SECONDS)
    assert lost(before, places(lab, [notebook])) == []


# --- day two ---------------------------------------------------------------------------------------------------------


def remove_node(manager: str) -> PlayResult:
    return run_playbook("playbooks/remove_node.yml", "-e", f"node={manager}", *CONFIRMED, timeout=600)


def add_node(manager: str) -> None:
    result = run_playbook("playbooks/add_node.yml", "-e", f"node={manager}", timeout=600)
    assert result.code == 0, result.output


def nothing_is_left_to_do() -> None:
    result = run_playbook("site.yml")
    assert (result.code, set(result.changed.values())) == (0, {0}), result.output


def hub_was_away(lab: Lab, ended: threading.Event) -> float:
    """Ask the hub again and again until all has ended; return for how many seconds it did not answer."""
    seconds, last = 0.0, time.monotonic()
    while not ended.wait(0.2):
        answered, now = hub_answers(lab), time.monotonic()
        seconds += 0 if answered else now - last
        last = now
    return seconds


def test_a_drained_manager_is_given_back(lab: Lab) -> None:
    *_, manager = lab.inventory["managers"]["hosts"]

    def availability() -> str:
        return lab.docker("node", "inspect", "--format={{.Spec.Availability}}", manager)

    result = run_playbook("playbooks/drain_node.yml", "-e", f"node={manager}", *CONFIRMED)
    assert result.code == 0, result.output
    assert availability() == "drain"
    add_node(manager)
    assert availability() == "active"
    assert settled(lab)


def test_the_manager_that_leads_and_has_the_hub_is_removed_and_comes_back(
    lab: Lab, notebook: TokenSession, pool: ThreadPoolExecutor
) -> None:
    manager = bring_hub(lab, to_leader=True)
    before = places(lab, [notebook])
    ended = threading.Event()
    away = pool.submit(hub_was_away, lab, ended)
    with Kernel(notebook, 30) as kernel:
        kernel.run("x = 42")
        try:
            removed = remove_node(manager)
        finally:
            ended.set()
        assert removed.code == 0, removed.output
        lab.ssh(manager, "test ! -e /etc/swarmhub && test ! -e /etc/docker/daemon.json")
        assert sorted(managers(lab, manager).values()) == ["Leader", "Reachable"]
        seconds_until(lambda: hub_answers(lab), "the hub elsewhere", HUB_SECONDS)
        begun = time.monotonic()
        add_node(manager)
        print(
            f"{manager}, which led and had the hub, was removed in {removed.seconds:.0f} s, in which the hub did not "
            f"answer for {away.result():.0f} s, and was back after {time.monotonic() - begun:.0f} s"
        )
        assert kernel.run("print(x)") == "42\n"
    assert settled(lab)
    assert lost(before, places(lab, [notebook])) == []
    nothing_is_left_to_do()


def test_an_upgrade_finds_the_hub_on_another_manager_than_the_first(lab: Lab, notebook: TokenSession) -> None:
    manager = bring_hub(lab, to_leader=False)
    before, hub = places(lab, [notebook]), lab.containers("swarmhub_hub")
    with Kernel(notebook, 30) as kernel:
        kernel.run("x = 42")
        result = run_playbook("playbooks/upgrade.yml", *CONFIRMED, "-e", "hub_idle_timeout=7777")
        assert result.code == 0, result.output
        (outage,) = re.findall(r"The hub did not answer for [\d.]+ s, the proxy for [\d.]+ s", result.output)
        print(f"hub on {manager}, upgraded in {result.seconds:.0f} s: {outage}")
        assert lab.containers("swarmhub_hub") != hub
        assert kernel.run("print(x)") == "42\n"
    result = run_playbook("site.yml")
    assert result.code == 0, result.output
    assert lost(before, places(lab, [notebook])) == []
    nothing_is_left_to_do()


def test_a_dead_leader_is_removed_and_none_beside_it_and_may_come_back(lab: Lab) -> None:
    manager = bring_hub(lab, to_leader=True)
    _, *others = lab.inventory["managers"]["hosts"]
    (spare,) = set(others) - {manager}
    with power_cut(lab, manager) as off:
        seconds_until(lambda: node_state(lab, manager) == "unknown", "another leader", HUB_SECONDS, off)
        refused = remove_node(spare)
        assert refused.code != 0
        assert f"cannot demote {spare}: of the 2 managers left only 1 would answer" in " ".join(refused.output.split())
        assert set(refused.changed.values()) == {0}

        removed = remove_node(manager)  # waits until it is Down
        assert removed.code == 0, removed.output
        gone = time.monotonic() - off
        assert sorted(managers(lab, manager).values()) == ["Leader", "Reachable"]
        seconds = seconds_until(lambda: hub_answers(lab), "the hub elsewhere", gone + HUB_SECONDS, off)
        without = run_playbook("site.yml", "-e", "skip_unreachable=true")
        assert (without.code, set(without.changed.values())) == (0, {0}), without.output
        print(f"{manager}, which led, was removed {gone:.0f} s after its end; the hub answered after {seconds:.0f} s")

        lab_command("up", "--layout", "ha", "--hosts-only")  # back from the dead
        told = run_playbook("site.yml")
        assert told.code != 0
        assert "was removed from the swarm while it was away" in " ".join(told.output.split())
        assert set(told.changed.values()) == {0}
        lab.ssh(manager, "docker swarm leave --force")
        add_node(manager)
    assert settled(lab)
    nothing_is_left_to_do()
