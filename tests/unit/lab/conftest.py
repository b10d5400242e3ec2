"""Let the tests of the lab's parts import them by the names that they have there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "molecule" / "shared"))
