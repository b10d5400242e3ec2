"""Runs on a manager, as its Python's argument, and holds the lock for as long as somebody speaks on its standard input.

Standard library alone, for Python 3.10 and later. Arguments: the lock's name, and who holds it. The line that it prints
is HELD, or who else holds it. The lock is a name among Linux's abstract sockets: two cannot have it, whoever asks it is
told the holder, and it is gone with its process. It needs no root, and no file that could stay.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

HELD = "held"
UNKNOWN = "?"  # somebody holds it who does not answer
#: Seconds in which one that has just ended gives it back.
PATIENCE = 1.0
#: Seconds without a word until the other side is taken for dead: its machine has lost its power, or its network.
SILENCE = 60.0


def _bound(name: str) -> socket.socket | None:
    lock = socket.socket(socket.AF_UNIX)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            lock.bind(f"\0{name}")
        except OSError:
            if time.monotonic() > until:
                return None
            time.sleep(0.1)
        else:
            lock.listen()
            return lock


def _other(name: str) -> str:
    asked = socket.socket(socket.AF_UNIX)
    asked.settimeout(2)
    try:
        asked.connect(f"\0{name}")
        return asked.makefile().readline()
    except OSError:  # it has just ended, or stands still
        return ""


def _hold(lock: socket.socket, holder: str) -> None:
    heard = time.monotonic()
    while time.monotonic() < heard + SILENCE:
        ready = select.select([0, lock.fileno()], [], [], 1.0)[0]
        if lock.fileno() in ready:
            lock.accept()[0].sendall(f"{holder}\n".encode())
        if 0 in ready:
            heard = time.monotonic()
            if not os.read(0, 100):
                return


def _main(name: str, holder: str) -> None:
    lock = _bound(name)
    print(HELD if lock else _other(name) or UNKNOWN, flush=True)
    if lock:
        _hold(lock, holder)


if __name__ == "__main__":
    _main(*sys.argv[1:])
