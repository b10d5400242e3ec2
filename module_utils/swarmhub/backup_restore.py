"""Putting a backup back: what it would replace, and the database and the folders themselves."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub import backup
from ansible.module_utils.swarmhub.backup import BackupError, Facts, Repository

#: Seconds until the sessions of a hub that was stopped are gone, and for each lock after that.
QUIET_PATIENCE = 60
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SCHEMA = "SELECT version_num FROM alembic_version"
PEOPLE = "SELECT name FROM users UNION SELECT username FROM users_info"
#: What the client says where there is no database, or not yet these tables.
ABSENT = ("Connection refused", "does not exist", "timeout expired", "No route to host")


class Database:
    """A PostgreSQL database by psql.

    Args:
        url: libpq's, without a password.
        password: what goes with it.
    """

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._password = password

    def run(self, *arguments: str) -> str:
        """Run psql and return what it prints.

        Raises:
            BackupError: it failed, in its own words.
        """
        quoted = self._password.replace("\\", "\\\\").replace(":", "\\:")
        command = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"]
        place = os.memfd_create("pgpass")  # libpq takes a password from a file, and this one is in memory
        try:
            os.fchmod(place, 0o600)
            os.write(place, f"*:*:*:*:{quoted}\n".encode())
            settings = {"PGCONNECT_TIMEOUT": "5", "PGOPTIONS": f"-c lock_timeout={QUIET_PATIENCE}s"}
            done = subprocess.run(
                [*command, f"--dbname={self._url}", *arguments],
                env={**os.environ, **settings, "PGPASSFILE": f"/proc/self/fd/{place}"},
                pass_fds=[place], capture_output=True, text=True, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise BackupError("psql is not installed: site.yml and restore.yml do that") from None
        finally:
            os.close(place)
        if done.returncode:
            raise BackupError(f"the database does not take it: {' '.join(done.stderr.split())}")
        return done.stdout

    def ask(self, query: str) -> list[str]:
        """Return the first column; empty where there is no database, or no such table."""
        try:
            return self.run(f"--command={query}").splitlines()
        except BackupError as error:
            if any(words in str(error) for words in ABSENT):
                return []
            raise

    def expect(self, manifest: Facts) -> None:
        """See that a backup is of the tables that the hub here knows.

        Raises:
            BackupError: it is of others.
        """
        here = "".join(self.ask(SCHEMA))
        if here and manifest["schema"] not in ("", here):
            images = ", ".join(f"{name} {image}" for name, image in manifest["images"].items())
            raise BackupError(
                f"the backup's tables are of JupyterHub's revision {manifest['schema']}, and this hub's of {here}: "
                f"restore with the version of swarmhub that made it ({images}), and upgrade then"
            )

    def load(self, dump: bytes) -> None:
        """Replace all that the role owns by what ``dump`` makes, in one transaction.

        Raises:
            BackupError: somebody works with the database, or it refused the dump: then it is as it was.
        """
        deadline = time.monotonic() + QUIET_PATIENCE
        while self.ask(OTHERS) != ["0"]:
            if time.monotonic() >= deadline:
                raise BackupError("somebody is still connected to the database: stop the hub, and try again")
            time.sleep(1)
        backup.PARTS.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=backup.PARTS, suffix=".sql") as file:
            file.write(dump)
            file.flush()
            self.run("--single-transaction", "--command=DROP OWNED BY CURRENT_USER CASCADE", f"--file={file.name}")

    def rows(self, tables: Iterable[str]) -> dict[str, int]:
        """Return how many rows each table has."""
        return {table: int(self.ask(f'SELECT count(*) FROM "{table}"')[0]) for table in tables}  # noqa: S608 - of the dump


def look(repository: Repository, wanted: str, url: str, password: str, made: Iterable[str]) -> Facts:
    """Return what a backup has, checked, and what it would replace; nothing is changed, and no lock taken.

    Args:
        repository: where the backups are.
        wanted: how a snapshot's id begins; empty for the latest.
        url: of the database that it would replace (libpq's).
        password: that of ``url``; empty for the one in the backup.
        made: accounts that every hub has.

    Raises:
        BackupError: the backup cannot be read, or is damaged.
    """
    snapshot = repository.find(wanted)
    manifest = repository.manifest(snapshot["id"])
    backup.see_turn()
    repository.check()
    repository.part(snapshot["id"], manifest, backup.DATABASE)
    cluster: Facts = {"secrets": {}, "inventory": {}, "nodes": []}
    if backup.CLUSTER in manifest["parts"]:
        cluster = json.loads(repository.part(snapshot["id"], manifest, backup.CLUSTER))
    database = Database(url, password or cluster["secrets"].get("db_password", ""))
    database.expect(manifest)
    continues = backup.RESTORING.exists() and backup.RESTORING.read_text() == snapshot["id"]
    return {
        "snapshot": snapshot["id"],
        "manifest": manifest,
        "cluster": cluster,
        "bytes": snapshot.get("summary", {}).get("total_bytes_processed", 0),
        # A restore that was cut off and goes on has asked already.
        "people": [] if continues else sorted(set(database.ask(PEOPLE)) - set(made)),
        "continues": continues,
    }


def restore(snapshot: str, folders: Mapping[str, str], password: str) -> Facts:
    """Put the database and the folders back, with the settings of role ``backup``; the hub must not run.

    Args:
        snapshot: its id.
        folders: where each of the backup's folders is to be. What is there and not in the backup stays.
        password: of the database.

    Returns:
        The manifest.

    Raises:
        BackupError: it could not be done; the database is then as it was, or as in the backup.
    """
    settings, repository = backup.settings()
    with backup.turn():
        repository.run("unlock")
        manifest = repository.manifest(snapshot)
        database = Database(settings["database"], password)
        database.expect(manifest)
        database.load(repository.part(snapshot, manifest, backup.DATABASE))
        rows = database.rows(manifest["rows"])
        if rows != manifest["rows"]:
            raise BackupError(f"the database has other rows than the backup: {rows}, not {manifest['rows']}")
        for name, target in folders.items():
            repository.run("restore", f"{snapshot}:{manifest['folders'][name]['path']}", f"--target={target}")
    return manifest
