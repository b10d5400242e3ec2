"""Exit code 0 when the hub answers, and others find it; the image's health check."""

from __future__ import annotations

import socket
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from swarmhub_hub.settings import load_settings

#: When the hub was first well: the swarm names it only then.
MARK = Path("/dev/shm/swarmhub-well")  # noqa: S108 - of this container alone
#: Seconds in which its name comes to be. A swarm that loses its leader while a hub starts may forget to name it.
NAMING = 15


def main() -> None:
    """Ask the hub's health page, and look its name up.

    Raises:
        OSError: nothing answers, or with an error, or it has no name; the traceback is what `docker inspect` shows.
    """
    settings = load_settings()
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.hub_port}/hub/health", timeout=4) as answer:
        answer.read()
    if not MARK.exists():
        MARK.touch()
    elif time.time() - MARK.stat().st_mtime > NAMING:
        socket.getaddrinfo(urlsplit(settings.hub_connect_url).hostname, None)


if __name__ == "__main__":
    main()
