"""Files in the memory of one process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

from headrace.errors import NotFound
from headrace.files.ids import checked
from headrace.ports import PIECE_BYTES


class MemoryFiles:
    """The `Files` of `ports` in memory; for tests and short-lived services."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    async def write(self, id: str, chunks: AsyncIterable[bytes]) -> int:
        checked(id)
        data = b"".join([chunk async for chunk in chunks])
        self._files[id] = data
        return len(data)

    async def read(self, id: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        data = self._files.get(checked(id))
        if data is None:
            raise NotFound(f"there is no file {id}")
        for at in range(start, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]

    async def size(self, id: str) -> int | None:
        data = self._files.get(checked(id))
        return None if data is None else len(data)

    async def delete(self, id: str) -> bool:
        return self._files.pop(checked(id), None) is not None

    async def tidy(self) -> None:
        return

    async def close(self) -> None:
        self._files.clear()
