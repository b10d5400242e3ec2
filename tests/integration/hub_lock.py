"""Hold the hub's lock in the database of this URL until the standard input ends; run by the hub's own interpreter."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images" / "hub"))

from swarmhub_hub.lock import hold_lock

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
hold_lock(sys.argv[1], "test", logging.getLogger("test"))
sys.stdin.read()
