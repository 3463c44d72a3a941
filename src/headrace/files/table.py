"""Files in a database, in pieces: every service on it sees the same ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager, suppress

from headrace.errors import NotFound, StoreError
from headrace.files.ids import checked
from headrace.ports import PIECE_BYTES, FilePieces


class TableFiles:
    """The `Files` of `ports` in the tables of a store.

    A file is written as a body of its own, which the file names once it is whole. What
    is being written, and what is still being read though the file names another body
    by now, is held by a lease that `tidy` renews.

    Args:
        pieces: the tables; the owner closes them after this.
    """

    def __init__(self, pieces: FilePieces) -> None:
        self._pieces = pieces
        self._held: Counter[int] = Counter()

    async def write(self, id: str, chunks: AsyncIterable[bytes]) -> int:
        body = await self._pieces.begin(checked(id))
        with self._holding(body):
            try:
                size = await self._fill(body, chunks)
                await self._pieces.finish(body, size)
            except BaseException:
                with suppress(StoreError):  # then it ends by itself, with its lease
                    await self._pieces.abandon(body)
                raise
        return size

    async def _fill(self, body: int, chunks: AsyncIterable[bytes]) -> int:
        """Write the pieces of a body; return its size."""
        size, number, pending = 0, 0, bytearray()
        async for chunk in chunks:
            size += len(chunk)
            pending += chunk
            while len(pending) >= PIECE_BYTES:
                await self._pieces.add(body, number, bytes(pending[:PIECE_BYTES]))
                del pending[:PIECE_BYTES]
                number += 1
        if pending:
            await self._pieces.add(body, number, bytes(pending))
        return size

    async def read(self, id: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        found = await self._pieces.find(checked(id))
        if found is None:
            raise NotFound(f"there is no file {id}")
        body, size = found
        number, skipped = divmod(start, PIECE_BYTES)
        with self._holding(body):
            while number * PIECE_BYTES + skipped < size:
                piece = await self._pieces.piece(body, number)
                if piece is None:
                    raise StoreError(f"files: {id} was removed while it was read")
                yield piece[skipped:]
                number, skipped = number + 1, 0

    async def size(self, id: str) -> int | None:
        found = await self._pieces.find(checked(id))
        return None if found is None else found[1]

    async def delete(self, id: str) -> bool:
        return await self._pieces.delete(checked(id))

    async def tidy(self) -> None:
        while await self._pieces.tend(self._held):
            pass

    async def close(self) -> None:
        return

    @contextmanager
    def _holding(self, body: int) -> Iterator[None]:
        self._held[body] += 1
        try:
            yield
        finally:
            self._held[body] -= 1
            if not self._held[body]:
                del self._held[body]
