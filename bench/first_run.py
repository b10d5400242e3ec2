"""A first run of site.yml on bare hosts, and its floor: packages, pulls and joins, by a script per host, all at once.

What the floor pulls was built by the first run; its registry is kept in between.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkit.engine import docker
from labkit.packages import KEY
from labkit.state import State

from bench.contenders import ours
from bench.measure import Run
from tests.e2e.conftest import ROOT

Json = dict[str, t.Any]
REGISTRY = "/var/lib/swarmhub/registry"
NEEDED = ("/etc/apt/", "/etc/docker/", "/etc/swarmhub/docker/", "/etc/swarmhub/registry/")
TIMEOUT = 900
INSTALL = """\
apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \\
  --option=Dpkg::Options::=--force-confold {packages} > /dev/null
"""
SERVE = f"""\
chown -R docker-registry: {REGISTRY} /etc/swarmhub/registry
systemctl restart docker-registry.service
until curl --silent --insecure https://localhost:5000/ > /dev/null; do sleep 0.2; done
"""


def lab(*arguments: str) -> None:
    """Run a command of molecule/shared/lab.py."""
    subprocess.run([sys.executable, "molecule/shared/lab.py", *arguments], cwd=ROOT, check=True, timeout=3600)


def first_run() -> Run:
    """Bring bare hosts up, and site.yml once over them; the lab is up afterwards."""
    lab("up", "--hosts-only")
    run = ours().run(timeout=3600)
    lab("up")
    return run


def keep_registry(manager: str, folder: Path) -> None:
    """Copy the manager's registry into a folder."""
    state = State.load()
    docker(state, "cp", f"{state.containers[manager]}:{REGISTRY}", str(folder), timeout=TIMEOUT)


def _shell(host: str, script: str) -> str:
    """Run a script on a host as root; return what it says."""
    state = State.load()
    return docker(state, "exec", state.containers[host], "sh", "-euc", script, timeout=TIMEOUT)


def _install(wanted: Json) -> str:
    """The script that writes what packages and engine need, and installs."""
    files = [each for each in wanted["files"] if each["path"].startswith(NEEDED)]
    folders = {str(Path(each["path"]).parent) for each in files}
    lines = [f"mkdir -p {shlex.join(sorted(folders))}", "umask 022"]
    lines += [f"printf %s {shlex.quote(each['content'])} > {shlex.quote(each['path'])}" for each in files]
    lines += [f"rm -f {shlex.join(wanted['absent'])}", INSTALL.format(packages=shlex.join(wanted["packages"]))]
    return "\n".join(lines)


def _pull(wanted: Json) -> str:
    return "\n".join(f"docker --config /etc/swarmhub/docker pull --quiet {image}" for image in wanted["images"])


def floor(desired: Path, registry: Path) -> float:
    """Take the lab down and bring bare hosts up; do on them what none can do without; return the seconds.

    Args:
        desired: what bench/desired.py wrote of the lab as it was.
        registry: the registry that was kept.
    """
    key = KEY.read_text().strip()
    lab("down")
    lab("up", "--hosts-only")
    cluster = json.loads((desired / "cluster.json").read_text())
    hosts = {host: json.loads((desired / f"{host}.json").read_text()) for host in State.load().containers}
    for each in (each for wanted in hosts.values() for each in wanted["files"]):
        each["content"] = each["content"].replace(key, KEY.read_text().strip())  # each lab signs with its own
    manager = cluster["manager"]
    _shell(manager, f"mkdir -p {Path(REGISTRY).parent}")
    state = State.load()
    docker(state, "cp", str(registry), f"{state.containers[manager]}:{REGISTRY}", timeout=TIMEOUT)
    serving = threading.Event()
    token = ""

    def found() -> None:
        nonlocal token
        try:
            wanted = hosts[manager]
            _shell(manager, _install(wanted) + SERVE)
            _shell(manager, f"docker swarm init --advertise-addr {wanted['address']}")
            token = _shell(manager, "docker swarm join-token --quiet worker")
        finally:
            serving.set()
        _shell(manager, _pull(wanted))

    def join(host: str) -> None:
        wanted = hosts[host]
        _shell(host, _install(wanted))
        serving.wait(TIMEOUT)
        _shell(host, f"{_pull(wanted)}\ndocker swarm join --token {token} {hosts[manager]['address']}:2377")

    begun = time.monotonic()
    with ThreadPoolExecutor(len(hosts)) as pool:
        jobs = [pool.submit(join, host) for host in hosts if host != manager]
        found()
        for job in jobs:
            job.result()
    return time.monotonic() - begun
