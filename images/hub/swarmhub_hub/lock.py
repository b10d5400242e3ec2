"""One hub at a time: a lock of the cluster in the database, from before the hub's first look into it until its end.

JupyterHub keeps in memory what it reads from the database, so two of them spoil each other's work. Swarm starts a hub
elsewhere when its manager is lost, and one that is only cut off from the swarm goes on for as long. The lock belongs to
a connection of its own: the server frees it when the connection ends, or has been silent for `LEASE`; the hub ends
itself before that, once `ANSWER` has passed without a word from the server.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
import typing as t

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

#: Seconds between two signs of life; those that one may go unanswered; those of silence after which the server ends the
#: session. So a hub that is cut off has ended BEAT + ANSWER after its last sign of life, long before another begins.
BEAT = 3
ANSWER = 6
LEASE = 20
#: Seconds between two tries to get the lock, and between two lines of the log about that.
RETRY = 0.5
REPORT = 30
NAME = "swarmhub-lock"


def hold_lock(db_url: str, cluster: str, log: logging.Logger) -> None:
    """Return as soon as this process is the cluster's only hub; it ends when that is so no more.

    A database of one file (sqlite) is for one hub on one machine, and has no lock.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed.
    """
    backend = sa.make_url(db_url).get_backend_name()
    if backend == "sqlite":
        return
    session, take = _session(backend, cluster)
    engine = sa.create_engine(db_url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=session)
    connection = engine.connect()
    _wait(connection, take, cluster, log)
    threading.Thread(target=_keep, args=(connection, log), name=NAME, daemon=True).start()


def lock_key(cluster: str) -> int:
    """Return the number of a cluster's lock, a signed one of 64 bits."""
    return int.from_bytes(hashlib.sha256(f"swarmhub {cluster}".encode()).digest()[:8], signed=True)


def _session(backend: str, cluster: str) -> tuple[dict[str, t.Any], sa.TextClause]:
    """Return the driver's arguments for the connection, and the statement that tries to take the lock."""
    key = lock_key(cluster)
    if backend == "mysql":
        lease = f"SET SESSION wait_timeout = {LEASE}"
        arguments = {"connect_timeout": 10, "read_timeout": ANSWER, "write_timeout": ANSWER, "init_command": lease}
        return arguments, sa.text(f"SELECT GET_LOCK('{NAME}.{key}', 0)")
    arguments = {
        "connect_timeout": 10,
        "tcp_user_timeout": ANSWER * 1000,
        "options": f"-c idle_session_timeout={LEASE * 1000}",
        "application_name": NAME,
    }
    return arguments, sa.text(f"SELECT pg_try_advisory_lock({key})")


def _wait(connection: sa.Connection, take: sa.TextClause, cluster: str, log: logging.Logger) -> None:
    said = -float("inf")
    while not connection.scalar(take):
        if time.monotonic() - said >= REPORT:
            log.warning("Another hub of cluster %s is at work in the database: waiting for its end", cluster)
            said = time.monotonic()
        time.sleep(RETRY)
    log.info("This is the one hub of cluster %s: its lock in the database is ours", cluster)


def _keep(connection: sa.Connection, log: logging.Logger) -> None:
    """Show signs of life, and end the process when the connection has, at once: what it knows is not to be written."""
    try:
        while True:
            time.sleep(BEAT)
            connection.scalar(sa.text("SELECT 1"))
    except DBAPIError as error:
        log.critical("The lock in the database is lost, so this hub ends: %s", str(error.orig).strip())
    finally:
        os._exit(1)
