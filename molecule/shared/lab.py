#!/usr/bin/env python3
"""A whole cluster on this machine: hosts in containers, or with kernels of their own, then site.yml on them.

python3 molecule/shared/lab.py up [--layout default|single|ha|kernel] [--hosts-only]
python3 molecule/shared/lab.py add|remove HOST…
python3 molecule/shared/lab.py status
python3 molecule/shared/lab.py down
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from labkit import (
    disks,
    engine,
    hosts,
    hub_images,
    images,
    inventory,
    kernel_network,
    kernels,
    machine,
    packages,
    teardown,
)
from labkit.layouts import LAYOUTS, Host, Layout
from labkit.run import LabError, logged, phase, say
from labkit.state import LAB, REPOSITORY, State, alive

SITE_TIMEOUT = 3600  # seconds for site.yml, images included


def _site_progress(log: Path) -> str:
    tasks = re.findall(r"^TASK \[(.+?)\] \*", log.read_text(errors="replace"), re.MULTILINE)
    return f"{len(tasks)} tasks, now: {tasks[-1]}" if tasks else "reading the inventory"


def _run_site(folder: Path) -> None:
    binaries = REPOSITORY / ".venv" / "bin"
    env = os.environ | {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1",  # only then a task is named when it starts, which the progress line needs
        "PATH": f"{binaries}:{os.environ['PATH']}",
    }
    command = [str(binaries / "ansible-playbook"), "-i", str(folder), "site.yml"]
    logged(command, LAB / "site.log", timeout=SITE_TIMEOUT, cwd=REPOSITORY, env=env, progress=_site_progress)


def _make_containers(state: State, layout: Layout, mirrors: tuple[str, str]) -> dict[str, str]:
    """Make the hosts as containers; they build their images themselves."""
    with phase("root file systems"):
        slim = images.root_archive("slim", mirrors[0])
        state.image = images.import_image(state, images.root_archive("host", mirrors[0]))
        state.save()
    with phase("network and package server"):
        hosts.make_network(state)
        driver = packages.build_repository()
        packages.start_server(state, mirrors)
    with phase("hosts"):
        hosts.make(state, layout.hosts, slim, driver)
    return {}


def _make_kernels(state: State, layout: Layout, mirrors: tuple[str, str]) -> dict[str, str]:
    """Make the hosts with kernels of their own; return the references of the images on their disks."""
    with phase("images of hub, proxy and notebook"):
        references = hub_images.build(state, images.root_archive("slim", mirrors[0]), mirrors[0])
    with phase("disks"):
        found = {host.name: disks.of(state, host, references, mirrors[0]) for host in layout.hosts}
    with phase("network and package server"):
        kernel_network.make(state)
        driver = packages.build_repository()
        packages.start_server(state, mirrors)
    with phase("boot"):
        kernels.make(state, layout.hosts, found, driver)
    return references


def up(layout_name: str, hosts_only: bool) -> None:
    """Bring the lab up; what is there already is kept."""
    state = State.load()
    if state.layout not in ("", layout_name):
        raise LabError(f"a lab with layout {state.layout} is up: run `lab.py down` first")
    LAB.mkdir(mode=0o700, exist_ok=True)
    state.layout = layout_name
    state.save()
    layout = LAYOUTS[layout_name].with_spares(state.spares)
    with phase("Debian packages on this machine"):
        machine.install_packages(kernels=layout.kernels)
    if not hosts_only:
        with phase("Python environment"):
            machine.make_venv()
    with phase("outer engine"):
        engine.start(state)
    mirrors = machine.mirrors()
    references = _make_kernels(state, layout, mirrors) if layout.kernels else _make_containers(state, layout, mirrors)
    with phase("inventory"):
        folder = inventory.write(state, layout, references)
    if hosts_only:
        say(f"The hosts are up; their inventory is {folder}")
        return
    with phase("site.yml"):
        _run_site(folder)
    address = inventory.write_access(state, layout)
    say(f"The hub is at {address}; who may sign in stands in {LAB / 'access.json'}")


def _spares(state: State, names: list[str]) -> list[Host]:
    spares = {host.name: host for host in LAYOUTS[state.layout].spares} if state.layout else {}
    for name in names:
        if name not in spares:
            raise LabError(f"{name} is no spare host of the lab that is up: {', '.join(spares) or 'it has none'}")
    return [spares[name] for name in names]


def add(names: list[str]) -> None:
    """Bring up spare hosts, bare unless they are light, and write them into the inventory."""
    state = State.load()
    added = _spares(state, names)
    if any(host.light for host in added):
        hosts.make_room()
        if not state.light_image:
            hosts.copy_worker(state, LAYOUTS[state.layout].hosts)
    state.spares = sorted({*state.spares, *names})
    state.save()
    layout = LAYOUTS[state.layout].with_spares(state.spares)
    slim = images.root_archive("slim", machine.mirrors()[0])
    hosts.make(state, layout.hosts, slim, packages.build_repository(), only=names)
    inventory.write(state, layout, {})


def remove(names: list[str]) -> None:
    """Take spare hosts away, and out of the inventory."""
    state = State.load()
    for host in _spares(state, names):
        if host.name in state.containers:
            hosts.remove(state, host)
    state.spares = [other for other in state.spares if other not in names]
    state.save()
    layout = LAYOUTS[state.layout].with_spares(state.spares)
    if state.light_image and not any(host.light for host in layout.hosts):
        hosts.forget_copy(state)
    inventory.write(state, layout, {})


def status() -> None:
    """Show what of the lab runs."""
    state = State.load()
    if not state.layout:
        say("no lab is up")
        return
    reachable = engine.answers(state)
    say(f"layout {state.layout}, network {state.subnet}, engine {'answers' if reachable else 'does not answer'}")
    layout = LAYOUTS[state.layout].with_spares(state.spares)
    processes = state.processes | kernels.running()
    for host in layout.hosts:
        if layout.kernels:
            running = "runs" if alive(processes.pop(host.name, "")) else ""
        else:
            running = engine.docker(
                state, "ps", "--all", "--filter", f"name=^/{hosts.PREFIX}-{host.name}$", "--format={{.Status}}"
            ) if reachable else ""  # fmt: skip
        say(f"  {host.name:7} {state.address(host.number):14} {running or 'absent'}")
    for name, identity in processes.items():
        say(f"  {name}: {'runs' if alive(identity) else 'gone'}")


def main() -> int:
    """Read the command line and run one command; 1 when it failed for a reason that can be told."""
    parser = argparse.ArgumentParser(description="A whole cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    bring_up = commands.add_parser("up", help="bring the lab up, or mend it")
    bring_up.add_argument("--layout", choices=sorted(LAYOUTS), default="default")
    bring_up.add_argument("--hosts-only", action="store_true", help="stop before site.yml")
    for command, words in (("add", "bring up spare hosts"), ("remove", "take spare hosts away")):
        commands.add_parser(command, help=words).add_argument("hosts", nargs="+", metavar="HOST")
    commands.add_parser("down", help="remove all that the lab started")
    commands.add_parser("status", help="show what runs")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        machine.check()
        actions: dict[str, Callable[[], None]] = {
            "up": lambda: up(arguments.layout, arguments.hosts_only),
            "add": lambda: add(arguments.hosts),
            "remove": lambda: remove(arguments.hosts),
            "down": teardown.down,
            "status": status,
        }
        actions[arguments.command]()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    if arguments.command != "status":
        say(f"{arguments.command}: {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
