"""A leaver's home, put away: ``python -m swarmhub_hub.archive [--look] USER``, for playbooks/offboard.yml.

The home first gets a name that no notebook mounts, then becomes a compressed tar, then goes. A run that was killed
anywhere is mended by the next. Prints what there was, and what has become of it, as JSON.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import shutil
import tarfile
import typing as t
from pathlib import Path

from swarmhub_hub.names import home_name
from swarmhub_hub.settings import load_settings

#: In the homes' root; no user's home begins with a dot.
ARCHIVES = ".archive"
#: What tells a home on its way from a finished archive.
LEAVING = "leaving-"
#: Held by the one that is at work.
LOCK = ".lock"


def put_away(root: Path, home: str, *, look: bool = False) -> dict[str, t.Any]:
    """Archive a home and take it away; return ``{"home": whether there was one, "archives": all that there are}``.

    Args:
        root: the homes' root.
        home: the directory's name.
        look: only say what there is.

    Raises:
        OSError: the file system refused; nothing is lost.
    """
    archives = root / ARCHIVES
    found = _places(root, home)
    if found and not look:
        archives.mkdir(mode=0o700, exist_ok=True)
        with (archives / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a run that was killed elsewhere may go on here
            for place in _places(root, home):
                _put_away(place, archives, home)
    kept = [str(path) for path in sorted(archives.glob("*.tar.gz")) if _owner(path) == home]
    return {"home": bool(found), "archives": kept}


def _places(root: Path, home: str) -> list[Path]:
    places = [root / ARCHIVES / f"{LEAVING}{home}", root / home]
    return [place for place in places if place.is_dir() and not place.is_symlink()]


def _put_away(place: Path, archives: Path, home: str) -> None:
    leaving = archives / f"{LEAVING}{home}"
    if place != leaving:
        place.rename(leaving)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%fZ")
    part = archives / f"{LEAVING}{home}.part"
    with part.open("wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
        with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive:
            archive.add(leaving, arcname=home)
        stream.flush()
        os.fsync(stream.fileno())
    final = archives / f"{home}.{stamp}.tar.gz"
    part.rename(final)
    # From here on a killed run leaves a second archive of the rest, and loses nothing.
    shutil.rmtree(leaving)


def _owner(archive: Path) -> str:
    return archive.name.removesuffix(".tar.gz").rpartition(".")[0]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--look", action="store_true")
    parser.add_argument("user")
    given = parser.parse_args()
    homes = load_settings().homes
    print(json.dumps(put_away(Path(homes.mount), home_name(given.user), look=given.look)))


if __name__ == "__main__":
    main()
