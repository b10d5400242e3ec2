"""Spans of time as people say them."""

from __future__ import annotations

import datetime


def in_words(span: datetime.timedelta | None) -> str:
    """Return a span of time as people say it: "5 min", "3 h", "2 days"; "" for none."""
    if span is None:
        return ""
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
