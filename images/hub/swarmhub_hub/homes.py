"""The users' homes: made by the hub under its own mount, then mounted into the notebook with what they share."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import typing as t
from pathlib import Path

from swarmhub_hub import skeleton
from swarmhub_hub.names import volume_name
from swarmhub_hub.settings import NOTEBOOK_GID, NOTEBOOK_UID, Folder, Homes

MODE = 0o750
#: Directory of the shared folders inside a home.
SHARED = "shared"
#: What a home is called while it is made; no user's home begins with a dot.
NEW = ".new-"
#: Seconds after which one is what a hub that was killed has left.
STALE = 3600


class HomeError(Exception):
    """A home cannot be made; the message is for the administrator."""


def folders_of(homes: Homes, groups: t.Collection[str]) -> list[Folder]:
    """Return the shared folders that a member of these groups sees."""
    return [each for each in homes.shared_folders if not each.groups or not set(each.groups).isdisjoint(groups)]


def make_home(homes: Homes, directory: str, folders: t.Collection[Folder] = ()) -> None:
    """Make the home with places for its ``folders``, or mend the owner (1000:100) and mode (0750) of one that is there.

    Raises:
        HomeError: the homes are not there or not writable, or something else bears the name.
    """
    if not homes.mount:
        return
    root = Path(homes.mount)
    if not root.is_dir():
        raise HomeError(f"{root} is not there: mount the homes into the hub's container")
    home = root / directory
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise HomeError(f"{home} is not a directory: remove it")
    try:
        if not home.exists():
            _make_new(home)
        status = home.stat()
        if (status.st_uid, status.st_gid) != (NOTEBOOK_UID, NOTEBOOK_GID):
            os.chown(home, NOTEBOOK_UID, NOTEBOOK_GID)
        if status.st_mode & 0o7777 != MODE:
            home.chmod(MODE)
    except OSError as error:
        raise HomeError(f"the home {home} cannot be made: {error.strerror}") from error
    try:
        _make_places(home, {each.name: each in folders for each in homes.shared_folders})
    except OSError as error:
        what = f"{home}/{SHARED} cannot take the shared folders ({error.filename}: {error.strerror})"
        raise HomeError(f"{what}: move away what is there") from error


def _make_new(home: Path) -> None:
    """Make a home with the files of the skeleton; none is ever seen half filled, and nothing half filled stays."""
    for left in home.parent.glob(f"{NEW}*"):
        with contextlib.suppress(FileNotFoundError):  # two starts at a time
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=NEW, dir=home.parent))
    try:
        skeleton.fill(new)
        new.rename(home)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        if not home.is_dir():  # else another start was faster
            raise


def _make_places(home: Path, wanted: t.Mapping[str, bool]) -> None:
    """Make the directories that shared folders are mounted on, and take away those of folders that are not theirs.

    What Docker makes itself would belong to root. A home is full of its user's own links: none is followed here.
    """
    if not wanted:
        return
    with contextlib.ExitStack() as opened:

        def directory(name: str | Path, parent: int | None = None) -> int:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            opened.callback(os.close, place)
            if (os.fstat(place).st_uid, os.fstat(place).st_gid) != (NOTEBOOK_UID, NOTEBOOK_GID):
                os.fchown(place, NOTEBOOK_UID, NOTEBOOK_GID)
            return place

        shared = directory(SHARED, directory(home))
        for name, is_theirs in wanted.items():
            if is_theirs:
                directory(name, shared)
            else:
                with contextlib.suppress(OSError):  # not there, or something of the user's own is in it
                    os.rmdir(name, dir_fd=shared)


def mounts(homes: Homes, directory: str, user: str, folders: t.Collection[Folder] = ()) -> list[dict[str, t.Any]]:
    """Return the mounts of a home and its shared folders, as the Engine API's ContainerSpec.Mounts wants them."""
    if homes.driver == "local":
        return [{"Type": "volume", "Source": homes.volume_name.format(username=user), "Target": homes.target}]
    return [
        _mount(homes, "home", f"{homes.path}/{directory}", homes.target),
        *(
            # Not ro as a mount option: mounts of one file system of a server share what the first one set.
            {
                **_mount(homes, "shared", f"{homes.shared_path}/{each.name}", f"{homes.target}/{SHARED}/{each.name}"),
                "ReadOnly": each.read_only,
            }
            for each in folders
        ),
    ]


def _mount(homes: Homes, kind: str, path: str, target: str) -> dict[str, t.Any]:
    if homes.driver == "bind":
        return {"Type": "bind", "Source": path, "Target": target}
    family, colon = ("cifs", "") if homes.driver == "cifs" else ("nfs", ":")
    options = {
        "type": family,
        "o": f"addr={homes.nfs_host},{homes.nfs_options.strip(',')}",
        "device": f"{colon}{path}",
    }
    return {
        "Type": "volume",
        "Source": volume_name(kind, Path(path).name, *(f"{key}={value}" for key, value in sorted(options.items()))),
        "Target": target,
        # NoCopy: Docker would copy the image's home into the share, and fail to chown it.
        "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": options}},
    }
