"""Versions as packages and engines write them."""

from __future__ import annotations

import re

Version = tuple[int, ...]


def version(text: str) -> Version:
    """Return the leading numbers of a version such as ``26.1.5+dfsg1``."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
