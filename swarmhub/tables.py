"""A plain table, as all commands print it."""

from __future__ import annotations

from rich.table import Table


def table(*columns: str) -> Table:
    """Return one with these heads and no rows yet.

    What does not fit goes on in the next line; but the first column, which names what the row is about, stays whole.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=index == 0)
    return made
