"""What drills share: people at work, ways to break a part of the lab, and what must not be lost by it."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import httpx
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .conftest import LAB, Lab, lab_command, run_playbook

STATE = LAB / "state.json"
HUB_SECONDS = 60  # within which a hub must be back
BOOT_SECONDS = 120
# The project's own heartbeat in seconds, and swarm's.
OURS, SWARMS = 40, 5
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'swarmhub-lock'"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
HEARTBEAT = "{{.Swarm.Cluster.Spec.Dispatcher.HeartbeatPeriod}}"

Places = dict[str, list[tuple[str, str]]]


def seconds_until(happened: t.Callable[[], bool], what: str, limit: float, since: float | None = None) -> float:
    """Wait until something has happened; return the seconds since then, of time.monotonic, by default since now."""
    begun = time.monotonic() if since is None else since
    while True:
        # A swarm that has no leader for a moment answers nothing.
        with suppress(subprocess.CalledProcessError):
            if happened():
                return time.monotonic() - begun
        assert time.monotonic() - begun < limit, f"{what}: not within {limit:.0f} s"
        time.sleep(0.2)


# --- what must not be lost -------------------------------------------------------------------------------------------


def places(lab: Lab, sessions: t.Iterable[TokenSession]) -> Places:
    """Where each user's notebook runs, as host and container."""
    return {
        session.name: [place for service in lab.services(session.name) for place in lab.containers(service)]
        for session in sessions
    }


def lost(before: Places, after: Places) -> list[str]:
    """The users whose notebooks run no more, or are others."""
    assert all(before.values()), before
    return [user for user, place in before.items() if after[user] != place]


def hub_answers(lab: Lab) -> bool:
    """Whether the hub says through the proxy that it is well."""
    try:
        return httpx.get(f"{lab.access['url']}/hub/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def notebook_answers(session: TokenSession) -> bool:
    """Whether Jupyter itself answers; a missing route would be a redirect to the hub."""
    try:
        answer = httpx.get(f"{session.url}{session.server_path}api", follow_redirects=False, timeout=2)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and "version" in answer.json()


def ride_out(lab: Lab, session: TokenSession, strike: t.Callable[[], object]) -> float:
    """Strike the hub under an open websocket of a kernel, which must go on; return the seconds without a hub."""
    before = places(lab, [session])
    runs = 0

    def works(kernel: Kernel) -> bool:
        nonlocal runs
        runs += 1
        return kernel.run("x += 1; print(x)") == f"{runs}\n"

    with Kernel(session, 30) as kernel:
        kernel.run("x = 0")
        assert works(kernel)
        struck = time.monotonic()
        strike()
        seconds_until(lambda: works(kernel) and not hub_answers(lab), "the hub's absence", HUB_SECONDS, struck)
        seconds = seconds_until(lambda: works(kernel) and hub_answers(lab), "the hub's return", HUB_SECONDS, struck)
        assert works(kernel)
    session.wait_until_ready()
    assert lost(before, places(lab, [session])) == []
    print(f"the hub answered again after {seconds:.1f} s; the kernel ran {runs} times meanwhile; notebooks lost: 0")
    return seconds


@contextmanager
def heartbeat_of(lab: Lab, seconds: int) -> t.Iterator[None]:
    """The swarm has this heartbeat; afterwards it has the project's own again."""
    if lab.docker("info", "--format", HEARTBEAT) != f"{seconds}s":
        result = run_playbook("site.yml", "-e", f"swarm_dispatcher_heartbeat={seconds}")
        assert result.code == 0, result.output
        time.sleep(OURS)  # a node learns of it with its next heartbeat
    try:
        yield
    finally:
        if seconds != OURS:
            result = run_playbook("site.yml")
            assert result.code == 0, result.output


# --- people at work --------------------------------------------------------------------------------------------------


@contextmanager
def people_on(
    lab: Lab, pool: ThreadPoolExecutor, hosts: t.Mapping[str, str], busy: t.Collection[str]
) -> t.Iterator[dict[str, TokenSession]]:
    """Users (name to host) with a notebook with a card, by name; the kernels of the ``busy`` are at work."""
    sessions = {user: lab.add_user(user) for user in hosts}
    runs: list[Future[str]] = []
    try:
        for user, session in sessions.items():
            session.start(lab.profile(cards=True), hosts[user])
        for user, session in sessions.items():
            session.wait_until_ready()
            kernel = Kernel(session, 120).__enter__()
            kernel.run("1")
            if user in busy:
                runs.append(pool.submit(kernel.run, "import time\nwhile True: time.sleep(1)"))
        yield sessions
    finally:
        for session in sessions.values():
            lab.remove_user(session)
        wait(runs, 120)


# --- ways to break something -----------------------------------------------------------------------------------------


def outer(host: str, command: str, *arguments: str) -> None:
    """Run a command of Docker's client on the container that a host of the lab is."""
    state = json.loads(STATE.read_text())
    docker = ["docker", "--host", state["docker_host"], command, state["containers"][host], *arguments]
    subprocess.run(docker, check=True, capture_output=True, timeout=60)


def node_state(lab: Lab, host: str) -> str:
    """What the first manager says of a host's node: ready, down or unknown."""
    address = lab.variables[host]["ansible_host"]
    ids = lab.docker("node", "ls", "--quiet").split()
    nodes = json.loads(lab.docker("node", "inspect", *ids))
    # A manager knows itself as 0.0.0.0 at times.
    (state,) = (
        node["Status"]["State"]
        for node in nodes
        if address in (node["Status"]["Addr"], node.get("ManagerStatus", {}).get("Addr", "").partition(":")[0])
    )
    return t.cast(str, state)


@contextmanager
def power_cut(lab: Lab, host: str) -> t.Iterator[float]:
    """A host is off, from one moment to the next (its time.monotonic is given); afterwards it is started and mended."""
    outer(host, "exec", "ip", "link", "set", "eth0", "down")  # else its end would be told to its peers
    try:
        outer(host, "kill")
        yield time.monotonic()
    finally:
        lab_command("up", "--layout", json.loads(STATE.read_text())["layout"], "--hosts-only")
        seconds_until(lambda: node_state(lab, host) == "ready", f"the return of {host}", BOOT_SECONDS)


@contextmanager
def parted(lab: Lab, host: str, others: t.Iterable[str]) -> t.Iterator[float]:
    """A host's network to others is cut, without a word to either side; given is the moment, of time.monotonic."""
    rules = [
        f"{chain} {end} {lab.variables[other]['ansible_host']} -j DROP"
        for other in others
        for chain, end in (("INPUT", "-s"), ("OUTPUT", "-d"))
    ]
    lab.ssh(host, " && ".join(f"iptables -w -I {rule}" for rule in rules))
    try:
        yield time.monotonic()
    finally:
        lab.ssh(host, "; ".join(f"iptables -w -D {rule}" for rule in rules))


def restart_postgres(lab: Lab) -> None:
    """Restart the database's server."""
    lab.ssh(lab.inventory["postgres_server"]["hosts"][0], "systemctl restart 'postgresql@*-main.service'")


def sql(lab: Lab, statement: str) -> str:
    """What psql prints, as the database's administrator."""
    host = lab.inventory["postgres_server"]["hosts"][0]
    return lab.ssh(host, f"runuser -u postgres -- psql -Atd jupyterhub -c {shlex.quote(statement)}").strip()
