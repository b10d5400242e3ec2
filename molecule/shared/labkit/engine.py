"""The outer Docker engine: the machine's own when it answers, else one of ours beside it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .run import LabError, output, say, succeeds, wait_until
from .state import CACHE, LAB, LAB_ID, State, alive, end_process, locked, process_identity

DEFAULT = "unix:///var/run/docker.sock"
FOLDER = CACHE / "engine"
SOCKET = FOLDER / "docker.sock"
OURS = f"unix://{SOCKET}"
IDENTITY = FOLDER / "process"  # which process our engine is
USERS = FOLDER / "users"  # one file per lab that uses it, with the path of that lab's state


def _answers(docker_host: str) -> bool:
    return succeeds(["docker", "--host", docker_host, "version"], timeout=15)


def _spawn(folder: Path, data: Path, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start an engine whose socket and log lie in a folder; what stands before its command starts it."""
    pidfile = folder / "docker.pid"
    pidfile.unlink(missing_ok=True)  # of an engine that was killed: its number may be somebody else's by now
    with (folder / "engine.log").open("ab") as log:
        return subprocess.Popen(
            [*before, "dockerd", f"--host=unix://{folder / 'docker.sock'}", f"--data-root={data}",
             f"--exec-root={folder / 'exec'}", f"--pidfile={pidfile}", "--bridge=none",
             "--containerd-namespace=swarmhub-lab", "--containerd-plugins-namespace=swarmhub-lab-plugins", *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _wait_for(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait until an engine answers; return its address."""
    docker_host = f"unix://{folder / 'docker.sock'}"

    def ready() -> bool:
        if process.poll() is not None:
            raise LabError(f"the lab's engine ended at once; the reason is in {folder / 'engine.log'}")
        return _answers(docker_host)

    wait_until(ready, "the start of the lab's engine", 60)
    return docker_host


def _start_ours() -> None:
    if IDENTITY.exists() and alive(IDENTITY.read_text()):
        wait_until(lambda: _answers(OURS), "an answer of our engine", 60)
        return
    if len(str(FOLDER)) > 70:
        raise LabError(f"{FOLDER} is too long a path for an engine's sockets: set SWARMHUB_CACHE to a shorter one")
    FOLDER.mkdir(parents=True, exist_ok=True)
    process = _spawn(FOLDER, FOLDER / "data")
    IDENTITY.write_text(process_identity(process.pid))
    _wait_for(process, FOLDER)


@contextmanager
def passing(data: Path) -> Iterator[str]:
    """Run an engine for a moment on a folder of images and layers; give its address. It does not outlive this run."""
    with tempfile.TemporaryDirectory(prefix="swarmhub-") as work:
        options = ("--iptables=false", "--storage-driver=overlay2")
        process = _spawn(Path(work), data, *options, before=("setpriv", "--pdeathsig", "TERM"))
        try:
            yield _wait_for(process, Path(work))
        finally:
            end_process(process_identity(process.pid), "the engine of a moment")
            process.wait()


def start(state: State) -> None:
    """Find or start the engine and note in the state which one it is."""
    if not state.docker_host or not _answers(state.docker_host):
        if _answers(DEFAULT):
            state.docker_host = DEFAULT
        else:
            # Noted first: what a killed run has started is `down`'s to stop.
            state.docker_host = OURS
            state.save()
            with locked("engine"):
                USERS.mkdir(parents=True, exist_ok=True)
                (USERS / LAB_ID).write_text(str(LAB))
                _start_ours()
        state.save()
    whose = "our own" if state.docker_host == OURS else "the machine's own"
    say(f"    {whose} engine at {state.docker_host}")


def answers(state: State) -> bool:
    """Whether the engine that the lab is on can be asked."""
    return bool(state.docker_host) and _answers(state.docker_host)


def release(state: State) -> None:
    """Stop our engine when no other lab uses it; one that we did not start is left alone."""
    if state.docker_host != OURS:
        return
    with locked("engine"):
        (USERS / LAB_ID).unlink(missing_ok=True)
        others = [path for path in USERS.glob("*") if Path(path.read_text(), "state.json").exists()]
        if others or (_answers(OURS) and docker(state, "ps", "--all", "--quiet")):
            say("    the engine stays: another lab uses it")
            return
        if IDENTITY.exists():
            end_process(IDENTITY.read_text(), "the lab's engine")
            IDENTITY.unlink()


def docker(state: State, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run one docker command on the lab's engine and return what it prints, stripped."""
    return output(["docker", "--host", state.docker_host, *arguments], stdin=stdin, timeout=timeout).strip()


def environment(state: State) -> dict[str, str]:
    """The environment for a docker command that is run elsewhere."""
    return os.environ | {"DOCKER_HOST": state.docker_host}
