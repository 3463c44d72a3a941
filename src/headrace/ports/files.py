"""What keeps the bytes of files: the contract of every file room."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Protocol


class Files(Protocol):
    """Keeps the bytes of files, under ids that others give out; knows no more of them.

    Memory stays constant, however large a file is. Every method raises `StoreError` if
    the place fails; nothing is half there.
    """

    async def write(self, id: str, chunks: AsyncIterable[bytes]) -> int:
        """Keep a file once all its bytes have come, in place of an earlier one.

        Whoever reads the earlier one meanwhile reads it to its end. If `chunks` raises,
        nothing has changed; if this is cancelled, it has happened wholly or not at all.

        Args:
            id: of `[A-Za-z0-9_-]`, at most 64 characters.
            chunks: the bytes, in pieces of any size.

        Returns:
            The file's size in bytes.
        """
        ...

    def read(self, id: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Give a file's bytes from `start` on, in pieces of at most 1 MiB.

        Who stops before the end must call `aclose`.

        Raises (at the first piece):
            NotFound: there is none.
        """
        ...

    async def size(self, id: str) -> int | None:
        """Return a file's size in bytes; None if there is none."""
        ...

    async def delete(self, id: str) -> bool:
        """Forget a file; False if there was none."""
        ...

    async def tidy(self) -> None:
        """Remove what dead writers left, and say that ours are alive.

        Called about once a minute by each process that reads and writes. What other
        processes write now is left alone.
        """
        ...

    async def close(self) -> None:
        """Give everything back; idempotent."""
        ...
