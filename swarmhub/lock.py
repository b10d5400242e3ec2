"""One run at a time per cluster: a lock on a file beside the inventory that names its holder.

The kernel gives it back when the holder ends, however it ends; the file stays, and says nothing while nobody holds it.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import getpass
import json
import os
import platform
import typing as t
from collections.abc import Iterator
from pathlib import Path

from swarmhub.errors import Code, Refused

#: Hidden, so that Ansible does not read it as a list of hosts.
NAME = ".swarmhub.lock"


@contextlib.contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of the inventory in ``folder`` while ``command``, in words, runs.

    Raises:
        Refused: another run holds it; the text names the holder.
    """
    # Not truncated: until we hold it, it is the holder's.
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(_refusal(file.read()), Code.LOCKED) from error
        file.truncate(0)
        json.dump(_holder(command), file)
        file.flush()
        yield
        # Of a later reader's time nobody holds it.
        file.truncate(0)


def _holder(command: str) -> dict[str, t.Any]:
    return {
        "user": getpass.getuser(),
        "host": platform.node(),
        "pid": os.getpid(),
        "command": command,
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _refusal(text: str) -> str:
    try:
        holder = json.loads(text)
    except ValueError:  # between its lock and its word
        return "another run has just begun on this inventory: wait for its end"
    return (
        f"{holder['user']}@{holder['host']} runs `swarmhub {holder['command']}` on it since {holder['since']} "
        f"(pid {holder['pid']}): wait for its end, or stop it there"
    )
