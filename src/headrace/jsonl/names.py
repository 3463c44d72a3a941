"""Names that stand twice in an input, found without a store."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_SHARDS = 64


class Names:
    """Remembers each name by 24 bytes: two independent hashes of it and its line.

    Two hashes of 64 bits, keyed at random by the interpreter, make a false alarm less
    likely than a broken machine even for thousands of millions of lines.
    """

    def __init__(self) -> None:
        self._shards = [(array("q"), array("q"), array("Q")) for _ in range(_SHARDS)]

    def add(self, names: Iterable[str], numbers: Iterable[int]) -> None:
        """Take note of some names and their lines."""
        shards = self._shards
        for name, number in zip(names, numbers, strict=True):
            hashed = hash(name)
            one, two, lines = shards[hashed % _SHARDS]
            one.append(hashed)
            two.append(hash(name + "\0"))
            lines.append(number)

    def doubles(self) -> set[int]:
        """Return the line of each name that stood on an earlier line already."""
        found: set[int] = set()
        for one, two, lines in self._shards:
            if len(set(one)) == len(one):
                continue
            seen: set[tuple[int, int]] = set()
            for key, number in zip(zip(one, two, strict=True), lines, strict=True):
                if key in seen:
                    found.add(number)
                seen.add(key)
        return found
