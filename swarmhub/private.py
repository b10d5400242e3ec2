"""A folder for what must not stay: ansible-runner's artifacts hold the environment and whole results."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from swarmhub.errors import Refused


@contextlib.contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Make a folder of mode 0700 in ``parent``, and remove it at the end; also those that killed runs have left.

    Raises:
        Refused: another account's folder is in the way.
    """
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        outer = _lock(parent)  # or another run's clean-up would find ours before it is locked
        try:
            for left in parent.iterdir():
                _remove_unless_held(left)
            folder = Path(tempfile.mkdtemp(dir=parent))
            # Locked as long as we live: that is how a later run knows what was left.
            handle = _lock(folder)
        finally:
            os.close(outer)
    except PermissionError as error:
        raise belongs_to_another(parent) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def belongs_to_another(path: Path) -> Refused:
    """Say who could let us write ``path``, or what is there of it."""
    while not os.access(path, os.F_OK):
        path = path.parent
    number = path.stat().st_uid
    try:
        owner = pwd.getpwuid(number).pw_name
    except KeyError:  # of another machine, or from outside a container
        owner = f"user {number}"
    return Refused(f"{path} belongs to {owner} and cannot be written: run as {owner}, or get the right to write it")


def _lock(folder: Path, how: int = fcntl.LOCK_EX) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle


def _remove_unless_held(folder: Path) -> None:
    try:
        handle = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError, PermissionError):  # in use, removed by its own run, another account's
        return
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
