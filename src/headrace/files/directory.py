"""Files in a directory: one file each, put in place once all of it is on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from uuid import uuid4

from headrace.errors import NotFound, StoreError
from headrace.files.ids import checked

T = TypeVar("T")

PIECE_BYTES: Final = 2**20
_PARTIAL: Final = ".partial"


class DirectoryFiles:
    """The `Files` of `ports` in a directory of this machine.

    Disk work is done in threads, a megabyte at a time. What a killed process left half
    written has a name of its own and is removed at the next `open_directory`.

    Args:
        place: the directory; it is there.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    async def write(self, id: str, chunks: AsyncIterable[bytes]) -> int:
        target = self._place / checked(id)
        partial = self._place / f"{id}.{uuid4().hex}{_PARTIAL}"
        size, pending = 0, bytearray()
        file: BinaryIO = await _on_disk(partial.open, "xb")
        try:
            async for chunk in chunks:
                size += len(chunk)
                pending += chunk
                if len(pending) >= PIECE_BYTES:
                    await _on_disk(file.write, bytes(pending))
                    pending.clear()
            await _on_disk(_finish, file, bytes(pending), partial, target)
        except BaseException:
            await asyncio.shield(_on_disk(_abandon, file, partial))
            raise
        return size

    async def read(self, id: str, start: int = 0) -> AsyncIterator[bytes]:
        try:
            file: BinaryIO = await _on_disk((self._place / checked(id)).open, "rb")
        except FileNotFoundError:
            raise NotFound(f"there is no file {id}") from None
        try:
            await _on_disk(file.seek, start)
            while piece := await _on_disk(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    async def size(self, id: str) -> int | None:
        try:
            found = await _on_disk(os.stat, self._place / checked(id))
        except FileNotFoundError:
            return None
        return int(found.st_size)

    async def delete(self, id: str) -> bool:
        try:
            await _on_disk(os.unlink, self._place / checked(id))
        except FileNotFoundError:
            return False
        return True

    async def close(self) -> None:
        return


async def open_directory(place: Path) -> DirectoryFiles:
    """Open a directory of files, made if it is not there.

    Only one service may use it at a time: what is half written is taken for the rest of
    a killed one.

    Raises:
        StoreError: it cannot be used; says why.
    """
    await _on_disk(_prepare, place)
    return DirectoryFiles(place)


def _prepare(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for partial in place.glob(f"*{_PARTIAL}"):
        partial.unlink(missing_ok=True)


def _finish(file: BinaryIO, rest: bytes, partial: Path, target: Path) -> None:
    """Write the last bytes, make sure that they last, and give the file its name."""
    file.write(rest)
    file.flush()
    os.fsync(file.fileno())
    file.close()
    partial.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _abandon(file: BinaryIO, partial: Path) -> None:
    with suppress(OSError):
        file.close()
    with suppress(OSError):
        partial.unlink(missing_ok=True)


async def _on_disk(work: Callable[..., T], *arguments: Any) -> T:
    """Do disk work in a thread; say what a failing disk needs."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"files: {error}; free room, or mend the disk") from error
