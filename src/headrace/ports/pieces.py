"""What keeps files in pieces beside the jobs: a part of the stores that can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

PIECE_BYTES: Final = 2**20
"""What a file is cut into; only its last piece is shorter."""


class FilePieces(Protocol):
    """Bodies of files, each a row of pieces numbered from 0; `files.table` uses them.

    A body that no file names is held by a lease, by the database's clock; who writes
    or reads it names it in `tend` in time. Two processes may use one database: neither
    removes what the other holds. Every method raises `StoreError` if the database fails.
    """

    async def begin(self, id: str) -> int:
        """Return the number of a new body for that file, leased to whoever writes it."""
        ...

    async def add(self, body: int, number: int, piece: bytes) -> None:
        """Append a piece, and renew the lease.

        Raises:
            StoreError: it ran out; the body is gone.
        """
        ...

    async def finish(self, body: int, size: int) -> None:
        """Let the file name this body; its earlier one is leased to those who read it.

        Raises:
            StoreError: as `add`.
        """
        ...

    async def abandon(self, body: int) -> None:
        """Let go of a body that was not finished; the next `tend` removes it."""
        ...

    async def find(self, id: str) -> tuple[int, int] | None:
        """Return a file's body and size in bytes; None if there is none."""
        ...

    async def piece(self, body: int, number: int) -> bytes | None:
        """Return a piece; None if there is none, or the body is gone."""
        ...

    async def delete(self, id: str) -> bool:
        """Forget a file; its body is leased to those who read it. False if there was none."""
        ...

    async def tend(self, held: Iterable[int]) -> bool:
        """Renew the leases of these bodies, then remove some of what nobody holds.

        Returns:
            May there be more to remove?
        """
        ...
