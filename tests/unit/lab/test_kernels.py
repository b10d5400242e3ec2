"""How the lab finds its kernels, and makes what it could not finish anew."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t
from contextlib import suppress
from pathlib import Path

import pytest
from labkit import disks, hosts, kernels
from labkit.state import alive, process_identity

# Two processes with the same arguments, as a kernel and one of its guest's.
FORKS = 'sh -c "sleep 60; :" "$@" & exec sh -c "sleep 60; :" "$@"'


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of this test's own: a lab of this clone may be up."""
    monkeypatch.setattr(kernels, "UMID", f"umid=swarmhub-test{os.getpid()}-")


@pytest.fixture
def start() -> t.Iterator[t.Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def call(*arguments: str) -> subprocess.Popen[bytes]:
        before = len(kernels._processes())
        command = ["sh", "-c", FORKS, "sh", *arguments]
        started.append(subprocess.Popen(command, start_new_session=True))
        limit = time.monotonic() + 10
        while str(disks.KERNEL) in arguments and kernels.UMID in "".join(arguments) and time.monotonic() < limit:
            if len(kernels._processes()) >= before + 2:
                break
            time.sleep(0.02)
        return started[-1]

    yield call
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_kernels_are_found_by_their_own_argument(start: t.Callable[..., subprocess.Popen[bytes]]) -> None:
    ours = start(str(disks.KERNEL), "mem=2G", f"{kernels.UMID}test1")
    start(str(disks.KERNEL), "mem=2G", "umid=swarmhub-00000000-test2")  # of another clone
    start("grep", f"{kernels.UMID}test3")  # of somebody who looks for it
    assert kernels.running() == {"test1": process_identity(ours.pid)}
    assert set(kernels._processes().values()) == {"test1"}


def test_what_a_killed_kernel_leaves_is_ended(
    start: t.Callable[..., subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    (tmp_path / "test1" / "umid" / "swarmhub-test1").mkdir(parents=True)
    killed = start(str(disks.KERNEL), f"{kernels.UMID}test1")
    other = start(str(disks.KERNEL), f"{kernels.UMID}test2")
    killed.kill()
    killed.wait()
    assert set(kernels.running()) == {"test2"}
    left = [process_identity(pid) for pid, name in kernels._processes().items() if name == "test1"]
    assert len(left) == 1
    kernels._clear("test1")
    limit = time.monotonic() + 10
    while alive(left[0]) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not alive(left[0])
    assert alive(process_identity(other.pid))
    assert not (tmp_path / "test1" / "umid").exists()


def test_half_a_key_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ssh_host_ed25519_key"
    path.write_text("the private half; the run was killed before the public one")
    public = hosts.make_key(path, "gpu1")
    assert public.startswith("ssh-ed25519 ")
    assert hosts.make_key(path, "gpu1") == public
    derived = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == public.split()[:2]
