"""What breaks on some day, broken on purpose on the lab that is up: what people notice, and what is lost."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, TokenSession, tls_context

from .conftest import Lab
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
    notebook_answers,
    parted,
    places,
    power_cut,
    restart_postgres,
    ride_out,
    seconds_until,
    sql,
)

PROXY_SECONDS = 10
DOWN_SECONDS = 180
SETTLED = 40  # seconds after which a healed worker has stopped what it was told to
END_LOCK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'swarmhub-lock'"


def kill(lab: Lab, service: str) -> None:
    """Kill the one container of a service."""
    ((host, container),) = lab.containers(service)
    lab.docker("kill", container, host=host)


# --- hub, proxy, database --------------------------------------------------------------------------------------------


def test_a_killed_hub_is_back_soon_under_an_open_websocket(lab: Lab, notebook: TokenSession) -> None:
    ride_out(lab, notebook, lambda: kill(lab, "swarmhub_hub"))


def test_a_killed_proxy_serves_a_notebook_again_soon(lab: Lab, notebook: TokenSession) -> None:
    before = places(lab, [notebook])
    assert notebook_answers(notebook)
    (proxy,) = lab.containers("swarmhub_proxy")
    kill(lab, "swarmhub_proxy")
    seconds = seconds_until(lambda: notebook_answers(notebook), "the proxy's return", 3 * PROXY_SECONDS)

    assert lab.containers("swarmhub_proxy") != [proxy], "the proxy was not killed"
    assert lost(before, places(lab, [notebook])) == []
    print(f"the notebook answered again {seconds:.1f} s after the proxy was killed; notebooks lost: 0")
    assert seconds < PROXY_SECONDS


def test_a_database_that_is_restarted_costs_no_notebook_and_people_sign_in_again(
    lab: Lab, notebook: TokenSession
) -> None:
    """The hub has lost its lock with its connections, so it starts again."""
    ride_out(lab, notebook, lambda: restart_postgres(lab))
    admin = (lab.access["admin_user"], lab.access["admin_password"])
    session = FormSession(lab.access["url"], *admin, start_timeout=60, request_timeout=30, tls=tls_context(None, True))
    assert session.sign_in() == "by the sign-in page"


# --- one hub at a time -----------------------------------------------------------------------------------------------


def test_a_hub_that_loses_its_lock_ends_at_once(lab: Lab, notebook: TokenSession) -> None:
    assert sql(lab, LOCKS) == "1"
    ride_out(lab, notebook, lambda: sql(lab, END_LOCK))
    assert sql(lab, LOCKS) == "1"


def test_a_second_hub_waits_until_the_first_has_ended(lab: Lab, notebook: TokenSession) -> None:
    ((host, first),) = lab.containers("swarmhub_hub")

    def log_of(container: str) -> str:
        return lab.ssh(host, f"docker logs {container} 2>&1")

    def waiting() -> list[str]:
        """The hubs that wait; the swarm takes them for starting."""
        ours = "label=com.docker.swarm.service.name=swarmhub_hub"
        containers = lab.docker("ps", "--quiet", "--no-trunc", "--filter", ours, host=host).split()
        return [each for each in containers if each != first and "waiting for its end" in log_of(each)]

    lab.docker("service", "scale", "--detach", "swarmhub_hub=2")
    try:
        seconds_until(lambda: waiting() != [], "the second hub's word that it waits", HUB_SECONDS)
        (second,) = waiting()
        assert "JupyterHub is now running" not in log_of(second)
        assert (sql(lab, SESSIONS), sql(lab, LOCKS)) == ("2", "1")
        assert hub_answers(lab)

        killed = time.monotonic()
        lab.docker("kill", first, host=host)
        taken = "its lock in the database is ours"
        seconds = seconds_until(lambda: taken in log_of(second), "the second hub's turn", HUB_SECONDS, killed)
        answers = seconds_until(lambda: hub_answers(lab), "the second hub's answer", HUB_SECONDS, killed)
        print(f"the second hub had the lock {seconds:.1f} s after the first was killed, answered after {answers:.1f} s")
    finally:
        lab.docker("service", "scale", "swarmhub_hub=1", timeout=120)
        seconds_until(lambda: hub_answers(lab) and sql(lab, SESSIONS) == "1", "the one hub's answer", HUB_SECONDS)
    notebook.wait_until_ready()


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(lab: Lab) -> t.Iterator[dict[str, TokenSession]]:
    """Users with a card each, by the worker that they are on."""
    sessions = {host: lab.add_user(f"drill-{host}") for host in ("gpu1", "gpu2")}
    try:
        for host, session in sessions.items():
            session.start(lab.profile(cards=True), host)
            session.wait_until_ready()
        yield sessions
    finally:
        for session in sessions.values():
            lab.remove_user(session)


@pytest.mark.long
def test_the_users_of_a_worker_without_power_find_their_files_on_another(
    lab: Lab, notebook: TokenSession, people: dict[str, TokenSession]
) -> None:
    user = people["gpu1"]
    others = [notebook, people["gpu2"]]
    before = places(lab, others)
    with Kernel(user, 30) as kernel:
        kernel.run("open('work.txt', 'w').write('of a day')")
    with power_cut(lab, "gpu1") as off:
        down = seconds_until(lambda: node_state(lab, "gpu1") == "down", "gpu1's being down", DOWN_SECONDS, off)
        known = seconds_until(lambda: user.server() is None, "the hub's knowing of it", DOWN_SECONDS + 60, off)
        user.start(lab.profile(cards=True))
        user.wait_until_ready()
        seconds = time.monotonic() - off
        ((host, _),) = places(lab, [user])[user.name]
        assert host == "gpu2"
        with Kernel(user, 30) as kernel:
            assert kernel.run("print(open('work.txt').read())") == "of a day\n"
        assert lost(before, places(lab, others)) == []
    print(
        f"heartbeat {OURS} s: the worker was down after {down:.0f} s, its user might start anew {known:.0f} s, "
        f"worked again on {host} after {seconds:.0f} s; other notebooks lost: 0 of {len(others)}; files lost: 0"
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("heartbeat", "seconds", "survives"), [(OURS, 60, True), (OURS, 120, None), (SWARMS, 60, False)]
)
def test_a_worker_is_cut_off_from_the_managers_for_a_while(
    lab: Lab, people: dict[str, TokenSession], heartbeat: int, seconds: int, survives: bool | None
) -> None:
    """A minute must cost nothing. Longer is reported: whatever is lost, the hub knows of it."""
    user = people["gpu1"]
    before = places(lab, people.values())
    with heartbeat_of(lab, heartbeat), Kernel(user, 120) as kernel:
        kernel.run("x = 42")
        down = ""
        with parted(lab, "gpu1", lab.inventory["managers"]["hosts"]) as cut:
            while time.monotonic() - cut < seconds:
                if not down and node_state(lab, "gpu1") == "down":
                    down = f"down after {time.monotonic() - cut:.0f} s"
                time.sleep(1)
        healed = time.monotonic()
        answered = seconds_until(
            lambda: notebook_answers(user) or time.monotonic() - healed > SETTLED, "an end", HUB_SECONDS, healed
        )
        # What is to be stopped is stopped by then.
        seconds_until(lambda: time.monotonic() - healed > SETTLED, "an end", HUB_SECONDS, healed)
        gone = lost(before, places(lab, people.values()))
        print(
            f"heartbeat {heartbeat} s, cut for {seconds} s: the worker was {down or 'never down'}; "
            f"notebooks lost: {len(gone)} of {len(before)}"
        )
        assert node_state(lab, "gpu1") == "ready"
        if user.name in gone:
            seconds_until(lambda: user.server() is None, "the hub's knowing of it", HUB_SECONDS)
        else:
            assert notebook_answers(user)
            kernel.open()  # as a browser would
            assert kernel.run("print(x)") == "42\n"
            print(f"its notebook answered {answered:.0f} s after the end, and its kernel had lost nothing")
    assert set(gone) <= {user.name}
    assert survives in (None, user.name not in gone)
