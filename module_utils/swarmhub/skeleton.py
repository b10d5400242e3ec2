"""The files of a new home: a directory of the controller, handed to the hub as one Docker config."""

from __future__ import annotations

import base64
import json
import stat
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

KEY = "hub_skeleton"
#: Bytes of the config: swarm takes 1000 KiB at most (moby, MaxConfigSize).
LARGEST = 900 * 1024


def check_directory(inventory: Inventory) -> Iterator[Finding]:
    """A skeleton that is not there, too big, or holds what is neither a file nor a directory."""
    directory = str(inventory.settings[KEY] or "")
    if not directory:
        return
    if not Path(directory).is_dir():
        yield _finding(f"{directory} is no directory of this controller", "write its path, or drop it")
        return
    odd = [path for path in _entries(directory) if path.is_symlink() or not (path.is_file() or path.is_dir())]
    for path in odd:
        yield _finding(f"{path} is neither a file nor a directory", "take it out: only these are copied")
    if not odd and (size := len(skeleton(directory))) > LARGEST:
        what = f"{directory} takes {size} bytes, and a Docker config {LARGEST}"
        yield _finding(what, "keep data in a shared folder, and small files here")


def skeleton(directory: str) -> str:
    """Return the files of a directory as the hub reads them (images/hub/swarmhub_hub/skeleton.py); "[]" for none.

    A directory counts for what is in it; of a file's mode only whether its owner may execute it.
    """
    files = [path for path in _entries(directory) if path.is_file()] if directory else []
    return json.dumps(
        [
            {
                "path": str(path.relative_to(directory)),
                "executable": bool(path.stat().st_mode & stat.S_IXUSR),
                "content": base64.b64encode(path.read_bytes()).decode(),
            }
            for path in files
        ]
    )


def _entries(directory: str) -> list[Path]:
    return sorted(Path(directory).rglob("*"))


def _finding(what: str, cure: str) -> Finding:
    return Finding(what, cure, KEY, file=VARIABLES_FILE)
