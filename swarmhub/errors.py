"""How a command ends: its exit codes, and the one exception that carries a sentence for the person and a code."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """Exit codes that scripts can rely on."""

    WELL = 0
    FAILED = 1
    USAGE = 2  # a wrong command line, or findings of check
    LOCKED = 3
    INTERRUPTED = 4


class Refused(Exception):
    """A command cannot go on; the text says why and what to do.

    Attributes:
        code: the exit code.
    """

    def __init__(self, text: str, code: Code = Code.USAGE) -> None:
        super().__init__(text)
        self.code = code
