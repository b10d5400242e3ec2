#!/usr/bin/python3
"""The backup: one restic snapshot of the hub's database, of homes and shared folders, and of what the controller gave.

Both a program on the backup host (``swarmhub-backup run``, ``init``), for which role ``backup`` copies this file there,
and what modules import: standard library alone. A snapshot holds, besides the folders, the directory of the PARTS::

    manifest.json   when, of which cluster, versions, rows of every table, sha256 and bytes of the other two
    database.sql    what pg_dump wrote
    cluster.json    secrets, inventory and nodes, as playbooks/backup.yml handed them over; each run takes them along

Only a snapshot that is tagged WHOLE counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

FORMAT = 1
DIRECTORY = Path("/etc/swarmhub/backup")
SETTINGS = DIRECTORY / "settings.json"
KEY = DIRECTORY / "key"
PASSWORDS = DIRECTORY / "pgpass"
#: Which repository has been opened with the key.
OPENED = DIRECTORY / "repository"
#: The snapshot that is being put back: until that is done nothing is backed up.
RESTORING = DIRECTORY / "restoring"
LOCK = DIRECTORY / "lock"
#: How the last run ended.
LAST = Path("/var/lib/swarmhub-backup/last.json")
CACHE = Path("/var/cache/swarmhub-backup")
#: Memory, and systemd's to remove: what must not lie on a disk unencrypted.
PARTS = Path("/run/swarmhub-backup")
MANIFEST, DATABASE, CLUSTER = "manifest.json", "database.sql", "cluster.json"
WHOLE, PARTIAL = "whole", "partial"
#: At the root of a file system, and its own business.
LEFT_OUT = ("lost+found", "aquota.user", "aquota.group", "quota.user", "quota.group")
INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_KEY = 3, 10, 11, 12  # restic's exit codes
LOCK_PATIENCE = "10m"
READ_BACK = "256M"  # of the repository's data, chosen by restic at random, or all of a smaller one

Facts = dict[str, t.Any]


class BackupError(Exception):
    """A backup cannot be made or read; the text says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class Repository:
    """A restic repository, of which only one cluster's snapshots are seen.

    Attributes:
        location: what restic takes as its repository.
        key: what it is encrypted with.
        cluster: restic's word for it is host.
        environment: further variables of restic's, such as credentials.
        only_read: leave not even a lock behind, or a cache.
    """

    location: str
    key: str
    cluster: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    only_read: bool = False

    def command(self, *arguments: str) -> list[str]:
        """Return the command line, which has nothing secret."""
        manners = ["--no-lock", "--no-cache"] if self.only_read else [f"--retry-lock={LOCK_PATIENCE}"]
        return ["restic", "--quiet", *manners, *arguments]

    def run(self, *arguments: str, also: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run restic; the key goes in by standard input.

        Args:
            arguments: command and options.
            also: an exit code that is no failure either.

        Raises:
            BackupError: restic is missing or failed, in its own words or better ones.
        """
        environment = {
            **os.environ,
            "RESTIC_CACHE_DIR": str(CACHE),
            **self.environment,
            "RESTIC_REPOSITORY": self.location,
            "RESTIC_PASSWORD_FILE": "/dev/stdin",
        }
        try:
            done = subprocess.run(
                self.command(*arguments), input=self.key.encode(), capture_output=True, env=environment, check=False
            )
        except FileNotFoundError:
            raise BackupError("restic is not installed: site.yml and restore.yml do that") from None
        if done.returncode not in (0, also):
            raise BackupError(self._reason(arguments[0], done))
        return done

    def _reason(self, command: str, done: subprocess.CompletedProcess[bytes]) -> str:
        own = [line for line in (done.stderr or done.stdout).decode(errors="replace").splitlines() if line.strip()]
        known = {
            NO_REPOSITORY: f"there is no repository at {self.location}: is its disk mounted, and the path right?",
            LOCKED: f"the repository at {self.location} is locked by another run; look at restic list locks",
            WRONG_KEY: f"the repository at {self.location} was made with another key: "
            "put the one that you kept into secrets/backup_key of the inventory",
        }
        return known.get(done.returncode) or f"restic {command} failed: {' '.join(own[-3:]) or done.returncode}"

    def open(self) -> None:
        """See that the key opens the repository; make the repository where there is none.

        Raises:
            BackupError: neither is possible.
        """
        if self.run("cat", "config", also=NO_REPOSITORY).returncode == NO_REPOSITORY:
            self.run("init")

    def snapshots(self, tag: str = WHOLE) -> list[Facts]:
        """Return this cluster's snapshots with a tag, as ``restic snapshots --json`` has them, the oldest first."""
        listed = self.run("snapshots", "--json", f"--host={self.cluster}", f"--tag={tag}").stdout
        return sorted(json.loads(listed) or [], key=lambda snapshot: str(snapshot["time"]))

    def find(self, wanted: str = "") -> Facts:
        """Return the snapshot whose id begins with ``wanted``, by default the latest.

        Raises:
            BackupError: there is none.
        """
        known = self.snapshots()
        found = [snapshot for snapshot in known if snapshot["id"].startswith(wanted)]
        if not found:
            there = ", ".join(f"{each['short_id']} of {each['time'][:16]}" for each in known) or "none"
            what = f"snapshot {wanted}" if wanted else "backup"
            raise BackupError(f"{self.location} has no {what} of cluster {self.cluster}; it has {there}")
        return found[-1]

    def read(self, snapshot: str, part: str) -> bytes:
        """Return what a snapshot has in one of its PARTS."""
        return self.run("dump", snapshot, str(PARTS / part)).stdout

    def manifest(self, snapshot: str) -> Facts:
        """Return a snapshot's manifest.

        Raises:
            BackupError: it was written by a later version.
        """
        found: Facts = json.loads(self.read(snapshot, MANIFEST))
        if found["format"] != FORMAT:
            raise BackupError(f"snapshot {snapshot[:8]} has format {found['format']}, and this version reads {FORMAT}")
        return found

    def part(self, snapshot: str, manifest: Facts, name: str) -> bytes:
        """Return a part that is what the manifest says.

        Raises:
            BackupError: it is not.
        """
        content = self.read(snapshot, name)
        if measure(content) != {key: manifest["parts"][name][key] for key in ("sha256", "bytes")}:
            raise BackupError(f"{name} of snapshot {snapshot[:8]} is not what its manifest says: take another snapshot")
        return content

    def check(self) -> None:
        """Let restic check its structures, and read some of its data back.

        Raises:
            BackupError: something is damaged.
        """
        try:
            self.run("check", f"--read-data-subset={READ_BACK}")
        except BackupError as error:
            raise BackupError(
                f"the repository at {self.location} is damaged: {error}; see restic repair --help"
            ) from error

    def save(self, paths: Iterable[str], left_out: Iterable[str]) -> Facts:
        """Make a snapshot of ``paths`` and return it. It counts once nothing of them was left unread.

        Raises:
            BackupError: something could not be read; what could is in a snapshot with the tag PARTIAL.
        """
        options = ["--json", f"--host={self.cluster}", f"--tag={PARTIAL}", "--group-by=host"]
        done = self.run("backup", *options, *(f"--exclude={path}" for path in left_out), *paths, also=INCOMPLETE)
        made = str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])
        if done.returncode == INCOMPLETE:
            unread = [json.loads(line) for line in done.stderr.splitlines() if b'"error"' in line]
            names = ", ".join(sorted({str(each.get("item", "?")) for each in unread})[:5])
            raise BackupError(f"could not read {names}; the rest is in snapshot {made[:8]}, tagged {PARTIAL}")
        self.run("tag", f"--set={WHOLE}", made)
        # With another tag it has another id.
        return next(each for each in self.snapshots() if made in (each["id"], each.get("original")))

    def thin_out(self, keep: Mapping[str, t.Any]) -> None:
        """Forget what ``keep`` does not keep (``{"daily": 7}``: restic's --keep-daily 7), and partial ones."""
        if partial := [str(each["id"]) for each in self.snapshots(PARTIAL)]:
            self.run("forget", *partial)
        rules = [f"--keep-{period}={int(number)}" for period, number in keep.items() if int(number)]
        self.run("forget", f"--host={self.cluster}", f"--tag={WHOLE}", "--group-by=host", "--prune", *rules)


def measure(content: bytes) -> Facts:
    """Return sha256 and bytes of a part."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def read_dump(dump: Iterable[str]) -> Facts:
    """Return what pg_dump's text tells: ``postgres`` (its version), ``schema`` (JupyterHub's), ``rows`` by table."""
    found: Facts = {"postgres": "", "schema": "", "rows": {}}
    table = ""
    for line in dump:
        if table:
            if line.startswith("\\."):
                table = ""
            else:
                found["rows"][table] += 1
                found["schema"] = line.strip() if table == "alembic_version" else found["schema"]
        elif begun := re.match(r'COPY public\."?(\w+)"? ', line):
            table = begun[1]
            found["rows"][table] = 0
        elif version := re.match(r"-- Dumped from database version (\S+)", line):
            found["postgres"] = version[1]
    return found


def dump_database(url: str, target: Path) -> None:
    """Write a database as SQL.

    Raises:
        BackupError: pg_dump failed, in its own words.
    """
    command = [
        "pg_dump",
        "--no-owner",
        "--no-privileges",
        "--lock-wait-timeout=60s",
        f"--file={target}",
        f"--dbname={url}",
    ]
    environment = {**os.environ, "PGPASSFILE": str(PASSWORDS), "PGCONNECT_TIMEOUT": "10"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise BackupError(f"the database cannot be dumped: {' '.join(done.stderr.split())}")


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Be the only one at work here.

    Raises:
        BackupError: somebody else is.
    """
    with LOCK.open("w") as place:
        _take(place, fcntl.LOCK_EX)
        yield


def see_turn() -> None:
    """See that nobody is at work here.

    Raises:
        BackupError: somebody is.
    """
    if LOCK.exists():
        with LOCK.open() as place:
            _take(place, fcntl.LOCK_SH)


def _take(place: t.IO[str], how: int) -> None:
    try:
        fcntl.flock(place, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackupError("another backup or restore is at work on this host: wait for it") from None


def settings() -> tuple[Facts, Repository]:
    """Return the settings that role ``backup`` wrote, and the repository."""
    found = json.loads(SETTINGS.read_text())
    where = Repository(found["repository"], KEY.read_text().strip(), found["cluster"], found["environment"])
    return found, where


def save(wanted: Facts, repository: Repository) -> Facts:
    """Make a backup and return what is in it.

    Raises:
        BackupError: it could not be made.
    """
    if RESTORING.exists():
        raise BackupError(f"a restore was cut off: run restore.yml again, or give it up and remove {RESTORING}")
    for name, path in wanted["folders"].items():
        if not Path(path).is_dir():
            raise BackupError(f"{path}, which has the {name}, is not there")
    repository.run("unlock")  # the locks of processes that are gone
    PARTS.mkdir(mode=0o700, exist_ok=True)
    dump = PARTS / DATABASE
    dump_database(wanted["database"], dump)
    cluster = PARTS / CLUSTER
    if not cluster.exists() and (known := repository.snapshots()):
        last = str(known[-1]["id"])
        manifest = repository.manifest(last)
        if CLUSTER in manifest["parts"]:
            cluster.write_bytes(repository.part(last, manifest, CLUSTER))
    with dump.open() as lines:
        told = read_dump(lines)
    manifest = {
        "format": FORMAT,
        "cluster": wanted["cluster"],
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "images": wanted["images"],
        **told,
        "parts": {part.name: measure(part.read_bytes()) for part in (dump, cluster) if part.exists()},
        "folders": {
            name: {"path": path, "entries": len(list(Path(path).iterdir()))} for name, path in wanted["folders"].items()
        },
    }
    (PARTS / MANIFEST).write_text(json.dumps(manifest, indent=1))
    folders = list(wanted["folders"].values())
    made = repository.save([str(PARTS), *folders], [f"{path}/{name}" for path in folders for name in LEFT_OUT])
    repository.thin_out(wanted["keep"])
    return {"snapshot": made["id"], "manifest": manifest, "summary": made["summary"]}


def note(outcome: Facts) -> None:
    """Keep how the run ended."""
    LAST.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = LAST.with_suffix(".new")
    temporary.write_text(json.dumps(outcome))
    temporary.replace(LAST)


def main(command: str) -> int:
    """Run one command; 1 when it failed for a reason that can be told."""
    begun = time.time()
    try:
        wanted, repository = settings()
        with turn():
            if command == "init":
                repository.open()
                OPENED.write_text(wanted["repository"])
                return 0
            note({"begun": begun, "error": "it was cut off"})
            made = save(wanted, repository)
    except BackupError as error:
        print(error, file=sys.stderr)
        if command == "run":
            note({"begun": begun, "error": str(error)})
        return 1
    note({"begun": begun, "seconds": round(time.time() - begun, 1), "error": "", **made})
    print(f"snapshot {made['snapshot'][:8]} in {wanted['repository']}")
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    if sys.argv[1:] not in (["run"], ["init"]):
        sys.exit("swarmhub-backup run | init")
    sys.exit(main(sys.argv[1]))
