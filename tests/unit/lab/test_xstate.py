"""The library under user-mode Linux, at work on the registers of a real process, on processors with AMX and without."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from labkit import disks, state

ROOM = 2696  # bytes that user-mode Linux 6.1 has for a process's extended registers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xstate")


@pytest.fixture(scope="module")
def library(folder: Path) -> Path:
    """The library, as the lab compiles it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CACHE", folder)
        patch.setattr(disks, "FOLDER", folder)
        return disks.xstate_library()


@pytest.fixture(scope="module")
def tracer(folder: Path) -> Path:
    program = folder / "tracer"
    source = Path(__file__).with_name("xstate_tracer.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    return program


@pytest.mark.parametrize("room", [ROOM, 32768])
def test_registers_come_and_go_whole(library: Path, tracer: Path, room: int) -> None:
    """With room for all of them it is as on a processor that has no more than user-mode Linux knows."""
    env = {"LD_PRELOAD": str(library)}
    done = subprocess.run([tracer, str(room)], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 0


def test_without_it_large_registers_cannot_be_set(tracer: Path) -> None:
    done = subprocess.run([tracer, str(ROOM)], capture_output=True, text=True, check=False)
    assert done.returncode == (errno.EFAULT if int(done.stdout) > ROOM else 0)


def test_a_kernel_that_executes_itself_anew_holds_no_file(library: Path) -> None:
    with Path("/dev/null").open() as stream:
        number = fcntl.fcntl(stream, fcntl.F_DUPFD, 50)
    try:
        listings = [
            subprocess.run(
                ["ls", "/proc/self/fd"], pass_fds=[number], env=env, capture_output=True, text=True, check=True
            ).stdout.split()
            for env in (dict(os.environ), os.environ | {"LD_PRELOAD": str(library)})
        ]
    finally:
        os.close(number)
    assert [str(number) in listing for listing in listings] == [True, False]
    assert {"0", "1", "2"} <= set(listings[1])
