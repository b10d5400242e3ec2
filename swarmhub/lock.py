"""One run at a time per cluster, on this machine: a lock on a file beside the inventory that names its holder.

The kernel gives it back when the holder ends, however it ends; the file stays, and says nothing while nobody holds it.
What keeps other machines out is in cluster_lock.py.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import getpass
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from swarmhub.errors import Code, Refused
from swarmhub.private import belongs_to_another

NAME = "swarmhub"  # of the cluster's lock
#: Hidden, so that Ansible does not read it as a list of hosts.
FILE = ".swarmhub.lock"


@contextlib.contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of the inventory in ``folder`` while ``command``, in words, runs.

    Raises:
        Refused: another run holds it, and the text names the holder; or it is another account's.
    """
    path = folder / FILE
    try:
        # Not truncated: until we hold it, it is the holder's. Its mode is the umask's: a group may share an inventory.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError as error:  # locked unwritten, it would name somebody else as its holder
        raise belongs_to_another(path) from error
    with os.fdopen(handle, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(refusal("this inventory", file.read()), Code.LOCKED) from error
        file.truncate(0)
        file.write(holder(command))
        file.flush()
        yield
        # Of a later reader's time nobody holds it.
        file.truncate(0)


def holder(command: str) -> str:
    """Return who we are, as a lock keeps it."""
    return json.dumps(
        {
            "user": getpass.getuser(),
            "host": platform.node(),
            "pid": os.getpid(),
            "command": command,
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )


def refusal(place: str, text: str) -> str:
    """Say who holds the lock of ``place``, by what the lock keeps."""
    try:
        of = json.loads(text)
    except ValueError:  # between its lock and its word
        return f"another run has just begun on {place}: wait for its end"
    return (
        f"{of['user']}@{of['host']} runs `swarmhub {of['command']}` on {place} since {of['since']} "
        f"(pid {of['pid']}): wait for its end, or stop it there"
    )
