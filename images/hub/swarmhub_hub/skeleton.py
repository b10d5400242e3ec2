"""The files that a new home begins with: a Docker config that the cluster's administrators filled.

A home is theirs whose name it bears from its first moment, so the files are put into it before it has that name.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from swarmhub_hub.settings import NOTEBOOK_GID, NOTEBOOK_UID

SKELETON = Path("/etc/swarmhub/skeleton.json")


def fill(home: Path, skeleton: Path | None = None) -> None:
    """Write the files into a home that nobody but us can reach yet; all belongs to the notebook's user.

    Raises:
        OSError: the file system refused.
    """
    source = skeleton or SKELETON
    for file in json.loads(source.read_text()) if source.exists() else ():
        path = home / file["path"]
        for directory in reversed(path.relative_to(home).parents[:-1]):
            if not (home / directory).exists():
                (home / directory).mkdir()
                os.chown(home / directory, NOTEBOOK_UID, NOTEBOOK_GID)
        path.write_bytes(base64.b64decode(file["content"]))
        path.chmod(0o755 if file["executable"] else 0o644)
        os.chown(path, NOTEBOOK_UID, NOTEBOOK_GID)
