"""Homes and shared folders: how they are mounted (nfs(5)), and what is wrong with what the user wrote about them."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from ansible.module_utils.swarmhub.exports import elsewhere, exports
from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding, did_you_mean

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

Looks = Mapping[str, Mapping[str, t.Any]]

VERSIONS = {"nfs4": "4.2", "nfs3": "3"}
VERSION_NAMES = ("vers", "nfsvers")
DEFAULT_OPTIONS = "rw,hard,timeo=600,retrans=2,noatime"
#: Options that are ours to write, each with who decides it.
TAKEN = {
    "addr": "drop it: nfs_host, or the host in nfs_server, is mounted",
    "ro": "drop it: read_only of a shared folder is meant for that",
}
RISKS = {
    **dict.fromkeys(("soft", "softerr"), "written data may be lost without a word while the server is away (nfs(5))"),
    "nolock": "two nodes that write to one file do not see each other's locks",
}
FOLDER_KEYS = ("name", "description", "groups", "read_only")
FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# What exports(5) and mount options cannot hold is left out.
PATH = re.compile(r"(/(?!\.\.(/|$))[^/\s\"\\#,]+)+")
QUOTA = re.compile(r"[1-9][0-9]*[KMGT]")


def mount_options(wanted: str, driver: str) -> str:
    """Return the options of mount(2) but for the address; ``wanted`` is what the user wrote, empty for our own.

    Without a version the kernel would take 3.
    """
    options = [option for option in wanted.split(",") if option] or DEFAULT_OPTIONS.split(",")
    if driver in VERSIONS and not any(option.partition("=")[0] in VERSION_NAMES for option in options):
        options.append(f"nfsvers={VERSIONS[driver]}")
    return ",".join(options)


def check_options(inventory: Inventory) -> Iterator[Finding]:
    """Mount options that contradict other settings."""
    key, driver = "hub_homes_nfs_options", inventory.settings["hub_homes_driver"]
    options = str(inventory.settings[key])
    if options and driver == "bind":
        yield _finding("is given, and hub_homes_driver bind mounts nothing", "drop it", key)
    for option in options.split(",") if options else []:
        name, _, value = option.partition("=")
        if not option or re.search(r"\s", option):
            yield _finding(f"{options!r} is no list of mount options", "write them with commas and no blanks", key)
        elif name in TAKEN:
            yield _finding(f"{option} is not yours to write", TAKEN[name], key)
        elif name in VERSION_NAMES and driver in VERSIONS and value.split(".")[0] != VERSIONS[driver][0]:
            yield _finding(f"{option} contradicts hub_homes_driver {driver}", "drop one of the two", key)


def check_folders(inventory: Inventory) -> Iterator[Finding]:
    """Shared folders that are written badly, and paths that lie in one another or that exports(5) cannot hold."""
    homes, shared = (str(inventory.settings[key]) for key in ("hub_homes_path", "hub_shared_path"))
    for key, path in (("hub_homes_path", homes), ("hub_shared_path", shared)):
        if not PATH.fullmatch(path):
            yield _finding(f"{path!r} cannot be exported", "write a path such as /srv/homes, without blanks", key)
    wanted = inventory.settings["hub_shared_folders"]
    if wanted and (_inside(homes, shared) or _inside(shared, homes)):
        yield _finding("lies in hub_homes_path, or that in it", "keep the two apart", "hub_shared_path")
    seen: dict[str, int] = {}
    for index, folder in enumerate(wanted):
        place = f"hub_shared_folders[{index}]"
        yield from _check_folder(place, folder)
        name = folder.get("name")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            what = f"{name} is the name of hub_shared_folders[{seen[name]}] as well"
            yield _finding(what, "give each folder a name of its own", f"{place}.name")


def _check_folder(place: str, folder: Mapping[str, t.Any]) -> Iterator[Finding]:
    for key in folder:
        if key not in FOLDER_KEYS:
            yield _finding("no shared folder has this key", did_you_mean(str(key), FOLDER_KEYS), f"{place}.{key}")
    name, groups = folder.get("name"), folder.get("groups", [])
    if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
        what = "is missing" if name is None else f"{name!r} cannot be the name of a folder"
        yield _finding(what, "use a-z, 0-9, - and _, 40 at most", f"{place}.name")
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, str) for group in groups):
        yield _finding(f"{groups!r} cannot be used", "write a list of names of hub groups", f"{place}.groups")
    if not isinstance(folder.get("read_only", False), bool):
        yield _finding(f"{folder['read_only']!r} cannot be used", "write true or false", f"{place}.read_only")
    if not isinstance(folder.get("description", ""), str):
        yield _finding(f"{folder['description']!r} is not text", "put it in quotes", f"{place}.description")


def check_quota(inventory: Inventory) -> Iterator[Finding]:
    """A quota that is no size, or that is not ours to set."""
    key, quota = "hub_homes_quota", str(inventory.settings["hub_homes_quota"] or "")
    if quota and not QUOTA.fullmatch(quota):
        yield _finding(f"{quota!r} is no size", "write a whole number with K, M, G or T, such as 50G", key)
    if quota and (inventory.settings["hub_homes_driver"] == "bind" or not inventory.groups.get("nfs_server")):
        what = "is given, and the homes are on no server of ours"
        yield _finding(what, "drop it and set quotas on that server, or put a host under nfs_server", key)


def check_hosts(inventory: Inventory, looks: Looks) -> Iterator[Finding]:
    """Risky mount options, a quota that the file system cannot keep, exports and shared folders of the site's own."""
    settings = inventory.settings
    key, driver = "hub_homes_nfs_options", settings["hub_homes_driver"]
    for option in str(settings[key]).split(","):
        # NFS 4 has locks of its own.
        if option in RISKS and (option, driver) != ("nolock", "nfs4"):
            what = f"has {option}: {RISKS[option]}"
            yield Finding(what, "leave it out unless your site needs it", key, "", VARIABLES_FILE, "warning")
    for host in inventory.groups.get("nfs_server", []) if settings["hub_homes_quota"] else []:
        path = settings["hub_homes_path"]
        found = looks.get(host, {}).get("file_systems", {}).get(path)
        if found and (found["type"] != "xfs" or "prjquota" not in found["options"]):
            what = f"needs XFS with prjquota, and {path} is on {found['type']} with {','.join(found['options'])}"
            cure = "mount an XFS file system there with prjquota (fstab; a remount does not do), or drop the quota"
            yield Finding(what, cure, "hub_homes_quota", host, VARIABLES_FILE)
    for host in inventory.groups.get("nfs_server", []):
        ours = exports(settings["hub_homes_path"], settings["hub_shared_path"], folders(settings["hub_shared_folders"]))
        for path, client in elsewhere(looks.get(host, {}).get("exports", []), ours, settings["cluster_cidrs"]):
            what = f"a file of the site's exports {path} to {client}, and its options would win over ours"
            yield Finding(what, "take the line out of /etc/exports or /etc/exports.d", "hub_homes_path", host)
    if driver == "bind":
        wanted = folder_paths(settings["hub_shared_path"], settings["hub_shared_folders"])
        for host in (host for host in inventory.members() if host in looks):
            for missing in [path for path in wanted if looks[host]["files"].get(path) is None]:
                cure = "make it on the file system that all nodes share, owned by 1000:100"
                yield Finding(f"{missing} is not there", cure, "hub_shared_folders", host, VARIABLES_FILE)


def folders(wanted: Iterable[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the shared folders as roles and hub take them, ``{name, groups, read_only}``."""
    return [
        {"name": each["name"], "groups": list(each.get("groups", [])), "read_only": each.get("read_only", False)}
        for each in wanted
    ]


def folder_paths(root: str, folders: Iterable[Mapping[str, t.Any]]) -> list[str]:
    """Return the paths of the shared folders."""
    return [f"{root}/{folder['name']}" for folder in folders]


def _inside(path: str, other: str) -> bool:
    return PurePosixPath(path).is_relative_to(other)


def _finding(what: str, cure: str, key: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)
