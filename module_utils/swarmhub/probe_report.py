"""The rows of hub_probe, gpu_probe and hub_notebooks as a table for a terminal."""

from __future__ import annotations

import typing as t

HEADINGS = {
    "node": "NODE", "case": "CASE", "user": "USER", "profile": "PROFILE", "since": "SINCE", "doing": "DOING",
    "step": "STEP", "outcome": "OUTCOME", "seconds": "SECONDS", "seen": "SEEN", "detail": "SEEN",
}  # fmt: skip


def table(rows: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Return one line a row under a line of headings, in columns as wide as their longest entry.

    One text, since Ansible breaks the long lines of a list.
    """
    rows = list(rows)
    headings = {key: text for key, text in HEADINGS.items() if any(key in row for row in rows)}
    lines = [{key: str(line[key]) or "-" for key in headings} for line in (headings, *rows)]
    width = {key: max(len(line[key]) for line in lines) for key in headings}
    return "\n".join(
        "  ".join(
            text.rjust(width[key]) if key == "seconds" else text.ljust(width[key]) for key, text in line.items()
        ).rstrip()
        for line in lines
        if line
    )
