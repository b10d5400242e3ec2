"""The rows of hub_probe as a table for a terminal."""

from __future__ import annotations

import typing as t

HEADINGS = {"profile": "PROFILE", "step": "STEP", "outcome": "OUTCOME", "seconds": "SECONDS", "detail": "SEEN"}


def table(rows: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """Return one line a row under a line of headings, in columns as wide as their longest entry."""
    lines = [{key: str(line[key]) or "-" for key in HEADINGS} for line in (HEADINGS, *rows)]
    width = {key: max(len(line[key]) for line in lines) for key in HEADINGS}
    return [
        "  ".join(
            text.rjust(width[key]) if key == "seconds" else text.ljust(width[key]) for key, text in line.items()
        ).rstrip()
        for line in lines
    ]
