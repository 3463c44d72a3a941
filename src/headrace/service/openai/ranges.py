"""Which part of a file is asked for (RFC 9110, 14): one range of bytes, or all."""

from __future__ import annotations

import re

import msgspec

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)


class Part(msgspec.Struct, frozen=True):
    """Bytes of a file.

    Args:
        start: the first one, from 0.
        length: how many; 0 only of an empty file.
        size: of the whole file.
    """

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of the header `content-range`."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def part_of(asked: str | None, size: int) -> Part | None:
    """Return the part that a `range` header asks for.

    Args:
        asked: the header's value; None if there is none.
        size: of the file, in bytes.

    Returns:
        None if all is asked for. So it is for several ranges and for what cannot be
        read, as RFC 9110 allows.

    Raises:
        ValueError: no byte of the file is asked for.
    """
    found = None if asked is None else _RANGE.fullmatch(asked)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        last = min(int(found[2]), size)
        start, end = size - last, size
    else:
        start = int(found[1])
        end = size if found[2] == "" else min(int(found[2]) + 1, size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise ValueError(f"the file has {size} bytes; {asked!r} asks for none of them")
    return Part(start, end - start, size)
