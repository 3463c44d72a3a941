"""Files in a directory: one file each, put in place once all of it is on disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from uuid import uuid4

from headrace.errors import NotFound, StoreError, StoreFull
from headrace.files.ids import checked
from headrace.ports import PIECE_BYTES

T = TypeVar("T")

_PARTIAL: Final = ".partial"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class DirectoryFiles:
    """The `Files` of `ports` in a directory of this machine.

    Disk work is done in threads, a megabyte at a time. What is half written has a name
    of its own and is locked by who writes it. The system frees the locks of a process
    that dies, so `tidy` of any process knows what is left for nobody.

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

    async def read(self, id: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        path = self._place / checked(id)
        file: BinaryIO | None = await self._if_there(path.open, "rb")
        if file is None:
            raise NotFound(f"there is no file {id}")
        try:
            await _on_disk(file.seek, start)
            while piece := await _on_disk(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    async def size(self, id: str) -> int | None:
        found = await self._if_there(os.stat, self._place / checked(id))
        return None if found is None else int(found.st_size)

    async def delete(self, id: str) -> bool:
        gone = await self._if_there(_unlinked, self._place / checked(id))
        return gone is not None

    async def tidy(self) -> None:
        await _on_disk(_remove_left, self._place)

    async def close(self) -> None:
        return

    async def _if_there(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """Do something with a file; None if it is not there, but its directory is."""
        return await _on_disk(_looked_for, self._place, work, *arguments)


async def open_directory(place: Path) -> DirectoryFiles:
    """Open a directory of files, made if it is not there.

    Several services of a machine may use it.

    Raises:
        StoreError: it cannot be used; says why.
    """
    await _on_disk(_prepare, place)
    return DirectoryFiles(place)


def _prepare(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _remove_left(place)


def _remove_left(place: Path) -> None:
    """Remove what is half written, and locked by nobody: its writer is dead."""
    os.stat(place)  # a directory that is gone has no rests to look for
    for partial in place.glob(f"*{_PARTIAL}"):
        with suppress(FileNotFoundError), partial.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            partial.unlink()


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
        """Make the file, locked; again if it was removed before it was."""
        while True:
            self._file = self._partial.open("xb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file.fileno()).st_nlink:
                return
            self._file.close()

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
        self._partial.replace(
            self._target
        )  # while it is locked, so that none removes it
        self._file = None
        file.close()
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
        kind = StoreFull if error.errno in _FULL else StoreError
        raise kind(f"files: {error}; free room, or mend the disk") from error


def _unlinked(path: Path) -> bool:
    path.unlink()
    return True


def _looked_for(place: Path, work: Callable[..., T], *arguments: Any) -> T | None:
    try:
        return work(*arguments)
    except FileNotFoundError:
        os.stat(place)
        return None
