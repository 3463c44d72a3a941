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
        writing = _Writing(self._place, checked(id))
        size, pending = 0, bytearray()
        try:
            await _on_disk(writing.begin)
            async for chunk in chunks:
                size += len(chunk)
                pending += chunk
                if len(pending) >= PIECE_BYTES:
                    await _on_disk(writing.add, bytes(pending))
                    pending.clear()
            await _on_disk(writing.finish, bytes(pending))
        finally:
            await _on_disk(writing.abandon)
        return size

    async def read(self, id: str, start: int = 0) -> AsyncIterator[bytes]:
        path = self._place / checked(id)
        file: BinaryIO | None = await _on_disk(_if_there, path.open, "rb")
        if file is None:
            raise NotFound(f"there is no file {id}")
        try:
            await _on_disk(file.seek, start)
            while piece := await _on_disk(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    async def size(self, id: str) -> int | None:
        found = await _on_disk(_if_there, os.stat, self._place / checked(id))
        return None if found is None else int(found.st_size)

    async def delete(self, id: str) -> bool:
        return await _on_disk(_unlinked, self._place / checked(id))

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


class _Writing:
    """One file on its way; each step runs in a thread, one after the other.

    Args:
        place: the directory.
        id: of the file.
    """

    def __init__(self, place: Path, id: str) -> None:
        self._target = place / id
        self._partial = place / f"{id}.{uuid4().hex}{_PARTIAL}"
        self._file: BinaryIO | None = None

    def begin(self) -> None:
        self._file = self._partial.open("xb")

    def add(self, piece: bytes) -> None:
        assert self._file is not None
        self._file.write(piece)

    def finish(self, rest: bytes) -> None:
        """Write the last bytes, make sure that they last, and give the file its name."""
        file = self._file
        assert file is not None
        file.write(rest)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        self._partial.replace(self._target)
        self._file = None
        directory = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def abandon(self) -> None:
        """Remove what was not finished."""
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)


async def _on_disk(work: Callable[..., T], *arguments: Any) -> T:
    """Do disk work in a thread, to its end also if cancelled meanwhile.

    Raises:
        StoreError: the disk fails; says what it needs.
    """
    step = asyncio.ensure_future(asyncio.to_thread(_translated, work, *arguments))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        while not step.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([step])
        raise


def _translated(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return work(*arguments)
    except OSError as error:
        raise StoreError(f"files: {error}; free room, or mend the disk") from error


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _if_there(work: Callable[..., T], *arguments: Any) -> T | None:
    """Do something with a file; None if it is not there."""
    try:
        return work(*arguments)
    except FileNotFoundError:
        return None
