#!/usr/bin/python3
"""Give every home on XFS a project of its own, with a hard limit: ``homes_quota.py DIRECTORY LIMIT``.

LIMIT is a size as xfs_quota(8) takes it (50G); 0 lifts the limits. A home keeps its project for good, in its inode
(ioctl_xfs_fsgetxattr(2)): nothing is kept elsewhere, and no home is touched that has one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

# linux/fs.h: struct fsxattr, and the calls that read and write it.
FSXATTR = struct.Struct("=IIIII8x")
FS_IOC_FSGETXATTR = 0x801C581F
FS_IOC_FSSETXATTR = 0x401C5820
FS_XFLAG_PROJINHERIT = 0x200
#: Our projects are numbered from here on; those below are the site's.
FIRST = 1_000_000
#: What opening a path ends in that was removed, or has become something else, since it was seen.
GONE = (errno.ENOENT, errno.ELOOP, errno.ENXIO)


def read(place: int) -> tuple[int, ...]:
    """Return the attributes of an open file: flags, extent size, extents, project, extent size of copies."""
    return FSXATTR.unpack(fcntl.ioctl(place, FS_IOC_FSGETXATTR, bytes(FSXATTR.size)))


def project_of(path: Path) -> int:
    """Return the number of a directory's project, 0 for none."""
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return read(place)[3]
    finally:
        os.close(place)


def put(path: Path, project: int) -> None:
    """Put a file or directory into a project; what is made in a directory later follows by itself."""
    if stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        return  # links and devices cannot be in one
    place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        flags, extent, extents, found, copies = read(place)
        wanted = flags | FS_XFLAG_PROJINHERIT if stat.S_ISDIR(os.fstat(place).st_mode) else flags
        if (flags, found) != (wanted, project):
            fcntl.ioctl(place, FS_IOC_FSSETXATTR, FSXATTR.pack(wanted, extent, extents, project, copies))
    finally:
        os.close(place)


def put_all(home: Path, project: int) -> None:
    """Put a home and all that is in it into a project.

    The home itself comes last, and so tells that the rest is done. Meanwhile somebody may work in it: a second pass
    takes what was made during the first, and what is gone by then is no matter.
    """
    for walk in range(2):
        for folder, folders, files in os.walk(home, topdown=False):
            for name in (*files, *folders):
                try:
                    put(Path(folder, name), project)
                except OSError as error:
                    if error.errno not in GONE:
                        raise
        if walk == 0:
            put(home, project)


def settle(directory: Path) -> dict[str, int]:
    """Give each home in ``directory`` a project of its own where it has none; return all by name.

    What begins with a dot is no home: archives of those who left, and homes that are being made.
    """
    entries = [entry for entry in os.scandir(directory) if not entry.name.startswith(".")]
    homes = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    projects: dict[str, int] = {}
    for name in homes:
        project = project_of(directory / name)
        # A copy of a home may have brought its project along.
        if project >= FIRST and project not in projects.values():
            projects[name] = project
    for name in homes:
        if name not in projects:
            project = max([FIRST - 1, *projects.values()]) + 1
            put_all(directory / name, project)
            projects[name] = project
    return projects


def limit(directory: Path, projects: dict[str, int], size: str) -> None:
    """Set the hard limit of all projects.

    Raises:
        subprocess.CalledProcessError: xfs_quota refused it, and said why.
    """
    mount = directory.resolve()
    while not mount.is_mount():
        mount = mount.parent
    commands = [part for project in projects.values() for part in ("-c", f"limit -p bhard={size.lower()} {project}")]
    if commands:
        subprocess.run(["xfs_quota", "-x", *commands, str(mount)], check=True)


def main(directory: Path, size: str) -> None:
    """Settle projects and limits, again while homes come and go."""
    seen = -1
    while seen != (seen := directory.stat().st_mtime_ns):
        limit(directory, settle(directory), size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
