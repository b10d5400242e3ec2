"""Keeps the cluster's secrets out of what is shown and recorded, should a failure's message ever hold one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MASK = "•••"
SHORTEST = 8  # characters: less would mask ordinary words


class Masks:
    """Replaces known secrets in texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({each for each in secrets if len(each) >= SHORTEST}, key=len, reverse=True)

    @classmethod
    def of_inventory(cls, folder: Path, others: Iterable[str] = ()) -> Masks:
        """Mask what the files of ``secrets/`` hold, line by line, and others; certificates are public."""
        files = [path for path in (folder / "secrets").glob("*") if path.is_file() and path.suffix != ".crt"]
        lines = (
            line.strip()
            for path in files
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if not line.startswith("-----")
        )
        return cls([*lines, *others])

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text
