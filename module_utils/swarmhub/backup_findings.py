"""Which host makes the backups, and what is wrong with what the user wrote about them."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding, did_you_mean

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

Looks = Mapping[str, Mapping[str, t.Any]]

SERVICE = "swarmhub-backup.service"
REPOSITORY = re.compile(r"(/[^\s\"\\]+|(sftp|rest|s3|swift|b2|azure|gs|rclone):\S+)")
PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
#: The whole grammar is systemd.time(7)'s: the role asks systemd itself.
SCHEDULE = re.compile(r"[A-Za-z0-9*:.,/~_ -]+")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TAKEN = re.compile(r"RESTIC_(REPOSITORY|PASSWORD)(_FILE|_COMMAND)?")


def backup_host(groups: Mapping[str, list[str]]) -> str:
    """Return the host that makes the backups: it has the homes, or else the database; empty for none."""
    return next((host for group in ("nfs_server", "postgres_server") for host in groups.get(group, [])), "")


def check_settings(inventory: Inventory) -> Iterator[Finding]:
    """A repository that restic cannot take, and what this host cannot back up."""
    settings = inventory.settings
    repository = str(settings["backup_repository"] or "")
    if not repository:
        return
    if not backup_host(inventory.groups):
        cure = "put the host that is to make the backups under nfs_server or postgres_server, or drop it"
        yield _finding("is given, and no host could make backups", cure, "backup_repository")
    yield from _check_repository(repository, settings)
    if settings["backup_homes"] and settings["nfs_host"]:
        cure = "write false, and back them up there"
        yield _finding("the homes are on nfs_host, which is none of our hosts", cure, "backup_homes")
    if settings["hub_db_url"].startswith("mysql"):
        yield _finding("only PostgreSQL is backed up", "drop it, and back up hub_db_url there", "backup_repository")
    if not SCHEDULE.fullmatch(settings["backup_schedule"]):
        cure = "write it as systemd.time(7) has it, such as Mon..Fri 02:30"
        yield _finding(f"{settings['backup_schedule']!r} is no time", cure, "backup_schedule")
    yield from _check_keep(settings["backup_keep"])
    for name, value in settings["backup_environment"].items():
        place = f"backup_environment.{name}"
        if TAKEN.fullmatch(str(name)) or not NAME.fullmatch(str(name)):
            yield _finding("is not yours to write", "drop it: repository and key are given already", place)
        elif not isinstance(value, str):
            yield _finding("is not text", "put it in quotes", place)


def _check_repository(repository: str, settings: Mapping[str, t.Any]) -> Iterator[Finding]:
    key = "backup_repository"
    if not REPOSITORY.fullmatch(repository):
        cure = "write a directory of the backup host with its whole path, or sftp:, rest:, s3: as restic has them"
        yield _finding(f"{repository!r} is no repository", cure, key)
    elif re.search(r"//[^/@]*:[^/@]*@", repository):
        yield _finding("has a password in it", "move it to backup_environment (RESTIC_REST_PASSWORD), in a vault", key)
    for name in ("hub_homes_path", "hub_shared_path"):
        if settings["backup_homes"] and PurePosixPath(repository).is_relative_to(str(settings[name])):
            yield _finding(f"lies in {name}, which it is to save", "use another disk, or another machine", key)


def _check_keep(keep: Mapping[str, t.Any]) -> Iterator[Finding]:
    for period, number in keep.items():
        place = f"backup_keep.{period}"
        if period not in PERIODS:
            yield _finding("is no period", did_you_mean(str(period), PERIODS), place)
        elif isinstance(number, bool) or not str(number).isdecimal():
            yield _finding(f"{number!r} cannot be used", "write how many", place)
    if not any(str(number).strip("0") for number in keep.values()):
        yield _finding("keeps nothing", "write how many of a period, such as {daily: 7}", "backup_keep")


def check_hosts(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """A backup host whose restic is too old, and a last run that failed."""
    host = backup_host(inventory.groups)
    look = looks.get(host)
    if not look or not inventory.settings["backup_repository"]:
        return
    if look["distribution"] == {"id": "debian", "version": "12"}:
        cure = "use Debian 13 for this host"
        yield Finding("the restic of Debian 12 (0.14) is too old for these backups", cure, "distribution", host)
    if look["units"].get(SERVICE, {}).get("failed"):
        cure = f"see journalctl -u {SERVICE} there, then run playbooks/backup.yml"
        yield Finding("the last backup failed", cure, SERVICE, host, severity="warning")


def _finding(what: str, cure: str, key: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)
