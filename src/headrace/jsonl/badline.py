"""What is wrong with a line, as a value."""

from __future__ import annotations

import msgspec

_SHOWN_CHARS = 80


class BadLine(msgspec.Struct, frozen=True):
    """A line that we refuse, and why.

    Args:
        file: name of the input as the user gave it.
        line: its number, from 1; 0 = the file as a whole.
        field: which part of the line; empty = all of it.
        given: what stands there.
        allowed: what may stand there.
        custom_id: the line's own name, if it could be read.
    """

    file: str
    line: int
    field: str
    given: str
    allowed: str
    custom_id: str | None = None

    @property
    def message(self) -> str:
        """What is wrong, without the place."""
        field = f"{self.field}: " if self.field else ""
        return f"{field}given {self.given}, allowed {self.allowed}"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


def double(file: str, line: int, custom_id: str) -> BadLine:
    """Return what is wrong with a line whose name stands on an earlier one too."""
    given = f"{shown(custom_id)} again"
    return BadLine(file, line, "custom_id", given, "each custom_id once", custom_id)


class Refusal(Exception):
    """Carries the reason from the place that finds it to the one that knows the line."""

    def __init__(self, field: str, given: str, allowed: str) -> None:
        super().__init__(field, given, allowed)
        self.field = field
        self.given = given
        self.allowed = allowed


def shown(text: str) -> str:
    """Return `text` quoted, on one line, in ASCII and not too long."""
    tail = "" if len(text) <= _SHOWN_CHARS else f"… ({len(text):,} characters)"
    quoted = ascii(text[:_SHOWN_CHARS])
    return f'"{quoted[1:-1]}"{tail}'
