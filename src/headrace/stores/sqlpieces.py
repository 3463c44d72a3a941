"""The `FilePieces` of `ports`, in a database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headrace.stores import steps_pieces
from headrace.stores.sqldocuments import Transactions

_SWEEPS: Final = 50
"""Of one `tend`: about 5 GB, so that leases are renewed in between."""


class SqlFilePieces:
    """Bodies of files in a database that others use, too."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def begin(self, id: str) -> int:
        return await self._transactions.write(lambda: steps_pieces.begin(id))

    async def add(self, body: int, number: int, piece: bytes) -> None:
        await self._transactions.write(lambda: steps_pieces.add(body, number, piece))

    async def finish(self, body: int, size: int) -> None:
        await self._transactions.write(lambda: steps_pieces.finish(body, size))

    async def abandon(self, body: int) -> None:
        await self._transactions.write(lambda: steps_pieces.abandon(body))

    async def find(self, id: str) -> tuple[int, int] | None:
        return await self._transactions.read(lambda: steps_pieces.find(id))

    async def piece(self, body: int, number: int) -> bytes | None:
        return await self._transactions.read(lambda: steps_pieces.piece(body, number))

    async def delete(self, id: str) -> bool:
        return await self._transactions.write(lambda: steps_pieces.remove(id))

    async def tend(self, held: Iterable[int]) -> bool:
        bodies = tuple(held)
        if bodies:
            await self._transactions.write(lambda: steps_pieces.renew(bodies))
        for _ in range(_SWEEPS):
            if not await self._transactions.write(steps_pieces.sweep):
                return False
        return True
