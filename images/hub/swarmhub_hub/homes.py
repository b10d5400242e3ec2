"""The users' homes: made by the hub under its own mount, then mounted into the notebook."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from swarmhub_hub.names import volume_name
from swarmhub_hub.settings import DEFAULT_NFS_OPTIONS, NOTEBOOK_GID, NOTEBOOK_UID, Homes

MODE = 0o750


class HomeError(Exception):
    """A home cannot be made; the message is for the administrator."""


def make_home(homes: Homes, directory: str) -> None:
    """Make the home, or mend the owner (1000:100) and mode (0750) of one that is there.

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
        home.mkdir(exist_ok=True)
        status = home.stat()
        if (status.st_uid, status.st_gid) != (NOTEBOOK_UID, NOTEBOOK_GID):
            os.chown(home, NOTEBOOK_UID, NOTEBOOK_GID)
        if status.st_mode & 0o7777 != MODE:
            home.chmod(MODE)
    except OSError as error:
        raise HomeError(f"the home {home} cannot be made: {error.strerror}") from error


def home_mount(homes: Homes, directory: str, user: str) -> dict[str, t.Any]:
    """Return the mount of a home, as the Engine API's ContainerSpec.Mounts wants it."""
    if homes.driver == "bind":
        return {"Type": "bind", "Source": f"{homes.path}/{directory}", "Target": homes.target}
    if homes.driver == "local":
        return {"Type": "volume", "Source": homes.volume_name.format(username=user), "Target": homes.target}
    options = _volume_options(homes, directory)
    name = volume_name(directory, *(f"{key}={value}" for key, value in sorted(options.items())))
    return {
        "Type": "volume",
        "Source": name,
        "Target": homes.target,
        # NoCopy: Docker would copy the image's home into the share, and fail to chown it.
        "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": options}},
    }


def _volume_options(homes: Homes, directory: str) -> dict[str, str]:
    options = (homes.nfs_options or DEFAULT_NFS_OPTIONS.get(homes.driver, "")).strip(",")
    if homes.driver == "cifs":
        return {"type": "cifs", "o": f"addr={homes.nfs_host},{options}", "device": f"{homes.path}/{directory}"}
    return {"type": "nfs", "o": f"addr={homes.nfs_host},{options}", "device": f":{homes.path}/{directory}"}
