"""A hundred and fifty people on the lab that is up: what they cost hub and proxy, how long they wait, what fails.

They sign in at two a second, by the pages, and each starts a notebook. So many of them as memory holds then start a
kernel that runs a cell every ten seconds; the hub is killed under them, and the proxy; then all stop. The floor is as
many services of the same kind, made straight through the Engine API in the hub's own container, at the same pace.
Hub and proxy have a large share of the cores, as on a manager of their own, and the floor has the hub's.
Run it with ``make bench-users``, as root, on a lab with nobody else on it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import threading
import time
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, tls_context

from bench.processes import Process
from tests.e2e.conftest import ROOT, Lab, run_playbook

PER_SECOND = 2
SLOTS = 4  # the spawner's concurrent_creations
CELL_PAUSE = 10
RESERVE = 2 * 2**20  # KiB of memory that kernels leave
PASSWORD = "long-enough-for-a-bench"  # noqa: S105 - of accounts that live as long as this runs
CELL = "sum(i * i for i in range(20000))"
HASH = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt()).hex())"
SAMPLE_SECONDS = 2


@dataclass
class Person:
    """Somebody with a notebook, and what happened to them.

    Attributes:
        waited: seconds from asking for the server until it was ready.
        cells: seconds that each cell took.
        failures: what failed, in the hub's words.
    """

    session: FormSession
    waited: float = 0.0
    kernel: Kernel | None = None
    cells: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def arrive(self, begin: float) -> None:
        """Sign in at ``begin`` (of time.monotonic), and start a notebook."""
        time.sleep(max(0.0, begin - time.monotonic()))
        try:
            self.session.sign_in()
            asked = time.monotonic()
            self.session.start("bench")
            self.session.wait_until_ready()
            self.waited = time.monotonic() - asked
            self.session.enter_server()
        except HubError as error:
            self.failures.append(str(error))

    def start_kernel(self) -> None:
        """Start a kernel, and see that it runs."""
        try:
            self.kernel = Kernel(self.session, 120).__enter__()
            self.kernel.run("1")
        except HubError as error:
            self.failures.append(str(error))

    def work(self, over: threading.Event) -> None:
        """Run a cell every ten seconds."""
        while self.kernel and not over.wait(CELL_PAUSE):
            begun = time.monotonic()
            try:
                self.kernel.run(CELL)
                self.cells.append(time.monotonic() - begun)
            except HubError as error:
                self.failures.append(str(error))
                self._come_back(over)

    def _come_back(self, over: threading.Event) -> None:
        """Open the channels anew, as a browser does."""
        while self.kernel and not over.wait(1):
            try:
                self.kernel.open()
            except HubError:
                continue
            return

    def leave(self) -> None:
        """Stop the notebook."""
        try:
            self.session.stop()
        except HubError as error:
            self.failures.append(str(error))


class Watch:
    """Looks at hub and proxy every two seconds, in a thread of its own."""

    def __init__(self, lab: Lab) -> None:
        """Find the two."""
        self.samples: dict[str, list[tuple[float, float, float]]] = {}
        self._processes = {
            name: Process.of_container(lab.containers(f"swarmhub_{name}")[0][1], command)
            for name, command in (("hub", "swarmhub_hub"), ("proxy", "configurable-http-proxy"))
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            for name, process in self._processes.items():
                self.samples.setdefault(name, []).append((time.monotonic(), process.cpu(), process.memory()))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def report(self, begin: float, end: float) -> str:
        """Mean and peak of both between two moments: percent of a core, and MiB of resident memory."""
        rows = []
        for name, samples in self.samples.items():
            within = [(cpu, memory) for at, cpu, memory in samples if begin <= at <= end]
            cpu, memory = ([each[column] for each in within] for column in (0, 1))
            rows.append(
                f"  {name:<6} CPU {statistics.mean(cpu):5.1f} % mean {max(cpu):5.1f} % peak,"
                f" memory {statistics.mean(memory):5.0f} MiB mean {max(memory):5.0f} MiB peak"
            )
        return "\n".join(rows)


def make_accounts(lab: Lab, names: list[str]) -> None:
    """Let people in as if an administrator had: what is measured is what comes after that."""
    ((host, hub),) = lab.containers("swarmhub_hub")
    digest = lab.docker("exec", hub, "python3", "-c", HASH, PASSWORD, host=host)
    rows = ", ".join(f"('{name}', decode('{digest}', 'hex'), true, false)" for name in names)
    listed = ", ".join(f"'{name}'" for name in names)
    statement = (
        f"DELETE FROM users_info WHERE username IN ({listed});"  # noqa: S608 - names of our own
        f"INSERT INTO users_info (username, password, is_authorized, has_2fa) VALUES {rows}"
    )
    server = lab.inventory["postgres_server"]["hosts"][0]
    lab.ssh(server, f'runuser -u postgres -- psql -qd jupyterhub -c "{statement}"')


def forget(lab: Lab, names: list[str]) -> None:
    """Remove accounts and what they run; the homes stay."""
    known = {user["name"] for user in lab.session("").request("GET", "hub/api/users").json()}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: lab.remove_user(lab.session(name)), known.intersection(names)))


def favour(lab: Lab, name: str) -> None:
    """Give a service of the stack the share that it has on a manager of its own: here all hosts share their cores."""
    ((host, container),) = lab.containers(f"swarmhub_{name}")
    lab.docker("update", "--cpu-shares", "16384", container, host=host)


def kill(lab: Lab, name: str) -> None:
    """Kill the one task of a service of the stack."""
    ((host, container),) = lab.containers(f"swarmhub_{name}")
    lab.docker("kill", container, host=host)


def seconds_without(url: str, limit: float) -> float:
    """Watch an address for ``limit`` seconds; return for how many it did not answer as it should."""
    away, end = 0.0, time.monotonic() + limit
    with httpx.Client(timeout=2) as client:
        while (looked := time.monotonic()) < end:
            try:
                good = client.get(url).status_code == 200
            except httpx.HTTPError:
                good = False
            time.sleep(0.2)
            away += 0 if good else time.monotonic() - looked
    return away


def table(title: str, seconds: list[float]) -> str:
    """A row of median, 95th percentile and maximum."""
    ordered = sorted(seconds)
    p95 = ordered[max(0, round(0.95 * len(ordered)) - 1)]
    return f"  {title:<44} p50 {statistics.median(ordered):7.2f} s  p95 {p95:7.2f} s  max {ordered[-1]:7.2f} s"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--kernels", type=int, default=150, help="at most")
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # what breaks is counted
    os.nice(10)  # the people's machines are elsewhere: theirs must not be the cores that the cluster waits for

    lab = Lab()
    settled = run_playbook("site.yml", "-e", "@bench/users.yml", timeout=600)
    assert settled.code == 0, settled.output
    names = [f"bench-{number:03}" for number in range(options.people)]
    forget(lab, names)
    make_accounts(lab, names)
    trust: dict[str, t.Any] = {"start_timeout": 900, "request_timeout": 120, "tls": tls_context(None, True)}
    people = [Person(FormSession(lab.access["url"], name, PASSWORD, **trust)) for name in names]
    try:
        run(lab, people, options.kernels, options.minutes)
    finally:
        forget(lab, names)


def run(lab: Lab, people: list[Person], most_kernels: int, minutes: float) -> None:
    """Let them come, work and go; print what was seen."""
    for name in ("hub", "proxy"):
        favour(lab, name)
    watch = Watch(lab)
    with ThreadPoolExecutor(len(people) + 1) as pool:
        begin = time.monotonic() + 1
        wait_for([pool.submit(each.arrive, begin + number / PER_SECOND) for number, each in enumerate(people)])
        all_there = time.monotonic()
        came, people = people, [person for person in people if person.waited]
        print(f"{len(people)} of {len(came)} people have a notebook {all_there - begin:.0f} s after the first came")
        report_failures(came, "until then")
        assert people, "nobody has a notebook"
        started = [person.waited for person in people]
        print(table("from asking for a notebook until it is ready", started), flush=True)
        print(watch.report(begin, all_there), flush=True)

        kernels = start_kernels(pool, people[:most_kernels])
        report_failures(people, "while kernels started")
        at_work = time.monotonic()
        over = threading.Event()
        working = [pool.submit(person.work, over) for person in kernels]
        time.sleep(minutes * 60)
        print(f"{len(kernels)} kernels ran {sum(len(p.cells) for p in kernels)} cells in {minutes:g} minutes")
        print(table("a cell", [cell for person in kernels for cell in person.cells]))
        print(watch.report(at_work, time.monotonic()))
        report_failures(people, "in these minutes")
        watch.stop()

        for name, address in (("hub", "hub/health"), ("proxy", f"{people[0].session.server_path}api")):
            kill(lab, name)
            away = seconds_without(f"{lab.access['url']}/{address}", 60)
            print(f"{name} killed: /{address} was away for {away:.1f} s")
            favour(lab, name)
            report_failures(people, "in the minute after it")
        over.set()
        wait_for(working)
        begun = time.monotonic()
        wait_for([pool.submit(person.leave) for person in people[1:]])
        print(f"{len(people) - 1} notebooks stopped in {time.monotonic() - begun:.0f} s")
    report_failures(people, "while they stopped")
    measure_floor(lab, people, started)
    people[0].leave()


def start_kernels(pool: ThreadPoolExecutor, people: list[Person]) -> list[Person]:
    """Start one for each of the people, as long as there is memory; return those who have one."""
    for first in range(0, len(people), SLOTS):
        if available_memory() < RESERVE:
            break
        wait_for([pool.submit(person.start_kernel) for person in people[first : first + SLOTS]])
    return [person for person in people if person.kernel]


def available_memory() -> int:
    """Return how much memory of the machine could be had, in KiB (proc_meminfo(5))."""
    (line,) = (each for each in Path("/proc/meminfo").read_text().splitlines() if each.startswith("MemAvailable:"))
    return int(line.split()[1])


def measure_floor(lab: Lab, people: list[Person], started: list[float]) -> None:
    """Make as many services by hand, after the first person's, and compare."""
    ((host, hub),) = lab.containers("swarmhub_hub")
    (pattern,) = lab.services(people[0].session.name)
    script = (ROOT / "bench" / "floor.py").read_text()
    arguments = (pattern, str(len(people)), str(PER_SECOND), str(SLOTS))
    printed = lab.docker("exec", hub, "python3", "-c", script, *arguments, host=host, timeout=1200)
    floor = json.loads(printed.splitlines()[-1])
    print(table("the floor: a service until its HTTP answers", floor))
    ratios = (statistics.median(started) / statistics.median(floor), statistics.mean(started) / statistics.mean(floor))
    print("a notebook to its floor: median {:.2f}, mean {:.2f}".format(*ratios))


def report_failures(people: list[Person], when: str) -> None:
    """Print what failed, and forget it."""
    failures = [f"{person.session.name}: {each}" for person in people for each in person.failures]
    print(f"failed requests and cells {when}: {len(failures)}")
    for each in failures[:10]:
        print(f"  {each}", flush=True)
    for person in people:
        person.failures.clear()


def wait_for(futures: list[Future[None]]) -> None:
    """Wait for all, and raise what one raised."""
    for each in futures:
        each.result()


if __name__ == "__main__":
    main()
