"""Which ids a file may have: they become names of files."""

from __future__ import annotations

import re

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked(id: str) -> str:
    """Return the id.

    Raises:
        ValueError: it holds what no id does, such as a path.
    """
    if not _ID.fullmatch(id):
        raise ValueError(f"file id {id[:80]!r}: not 1 to 64 of A-Z a-z 0-9 _ -")
    return id
