"""The hub's database: its password, which is in no URL, and waiting for it at the start."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import typing as t
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from swarmhub_hub.settings import SettingsError

#: What a hub that died with its machine has left open, the server ends after 20 s: the next hub is not to wait for it.
SERVER_KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
#: Memory, not disk.
MEMORY_DIR = "/dev/shm"  # noqa: S108


def give_password(db_url: str, password: str, environ: t.MutableMapping[str, str] = os.environ) -> str:
    """Hand the password to the database's driver through a file of mode 0600, and return the URL to connect to.

    A file serves the hub, and Alembic, which JupyterHub hands the URL without further arguments.

    Raises:
        SettingsError: the URL itself has a password, or its database is none that we know.
    """
    url = sa.make_url(db_url)
    if url.password:
        raise SettingsError("db_url: has a password in it; move that into the secret db_password")
    backend = url.get_backend_name()
    if backend == "sqlite" or not password:
        return db_url
    if backend == "postgresql":
        quoted = password.replace("\\", "\\\\").replace(":", "\\:")
        environ["PGPASSFILE"] = _private_file("pgpass", f"*:*:*:*:{quoted}\n")
        return db_url
    if backend == "mysql":
        option_file = _private_file("my.cnf", f'[client]\npassword="{password}"\n')
        return url.update_query_dict({"read_default_file": option_file}).render_as_string(hide_password=False)
    raise SettingsError(f"db_url: begins with {backend}; write postgresql+psycopg, mysql+pymysql or sqlite")


def engine_arguments(db_url: str) -> dict[str, t.Any]:
    """Return SQLAlchemy's engine arguments: dead connections are noticed, and idle ones kept from being dropped."""
    arguments: dict[str, t.Any] = {"pool_pre_ping": True}
    if db_url.startswith("postgresql"):
        arguments["connect_args"] = {"connect_timeout": 10, "keepalives_idle": 300, "options": SERVER_KEEPALIVES}
    return arguments


def wait_for_database(db_url: str, arguments: dict[str, t.Any], timeout: float, log: logging.Logger) -> None:
    """Return once the database answers.

    Raises:
        TimeoutError: it did not within ``timeout`` seconds; the message has the driver's own words.
    """
    deadline = time.monotonic() + timeout
    where = sa.make_url(db_url).set(query={}).render_as_string(hide_password=True)
    engine = sa.create_engine(db_url, **arguments)
    try:
        while True:
            try:
                with engine.connect():
                    return
            except OperationalError as error:
                words = str(error.orig).strip()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the database {where} did not answer within {timeout:.0f} s: {words}")
            log.warning("Waiting for the database %s: %s", where, words)
            time.sleep(2)
    finally:
        engine.dispose()


def _private_file(name: str, content: str) -> str:
    path = Path(tempfile.mkdtemp(prefix="swarmhub-", dir=MEMORY_DIR)) / name
    path.touch(mode=0o600)
    path.write_text(content)
    return str(path)
