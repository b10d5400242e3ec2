"""Taking the lab down: by the ids it recorded and its own label, and nothing else."""

from __future__ import annotations

import shutil

from . import engine, hosts, kernels
from .engine import docker
from .run import LabError, phase, say, succeeds
from .state import LAB, STATE_FILE, State, end_process


def _remove_from_engine(state: State) -> None:
    """Remove everything with the lab's label; the label also finds what a killed run had no time to record."""
    label = f"label={hosts.LABEL}"
    containers = docker(state, "ps", "--all", "--quiet", "--filter", label).split()
    hosts.remove_containers(state, containers, docker(state, "volume", "ls", "--quiet", "--filter", label).split())
    if networks := docker(state, "network", "ls", "--quiet", "--filter", label).split():
        docker(state, "network", "rm", *networks)
    for image in filter(None, (state.light_image, state.image)):
        # Another lab on this engine may still need it; then the engine refuses, and that is right.
        succeeds(["docker", "--host", state.docker_host, "image", "rm", image])


def down() -> None:
    """Take down a whole or half-made lab; nothing happens when there is none."""
    state = State.load()
    if not STATE_FILE.exists():
        say("no lab is up")
        return
    for socket in (LAB / "cp").glob("*"):
        succeeds(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "lab"], timeout=10)
    with phase("hosts and network"):
        if engine.answers(state):
            _remove_from_engine(state)
        elif state.network:
            raise LabError(f"the engine at {state.docker_host} does not answer: start it, then run this again")
    with phase("processes"):
        for name, identity in (state.processes | kernels.running()).items():
            end_process(identity, name)
        if state.namespace:
            kernels.remove(state)
        engine.release(state)
    for name in ("inventory", "ca", "packages", "cp"):
        shutil.rmtree(LAB / name, ignore_errors=True)
    for name in ("access.json", "ssh_key", "ssh_key.pub", "known_hosts", "resolv.conf"):
        (LAB / name).unlink(missing_ok=True)
    STATE_FILE.unlink()
