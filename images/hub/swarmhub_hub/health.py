"""Exit code 0 when the hub answers; the image's health check."""

from __future__ import annotations

import urllib.request

from swarmhub_hub.settings import load_settings


def main() -> None:
    """Ask the hub's health page.

    Raises:
        OSError: nothing answers, or the answer is an error; the traceback is what `docker inspect` shows.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{load_settings().hub_port}/hub/health", timeout=4) as answer:
        answer.read()


if __name__ == "__main__":
    main()
