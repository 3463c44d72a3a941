"""Where rendered lines go: a file that can be cut back, a stream, or nowhere."""

from __future__ import annotations

import errno
import os
import select
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from headrace.errors import OutputClosed, OutputError

_BLOCK_BYTES = 2**20


class Sink(Protocol):
    """Takes bytes and knows how many it has; raises `OutputError` on any fault."""

    size: int
    """Bytes that it has taken."""
    crc: int
    """CRC-32 of these bytes."""

    def is_intact(self, size: int, crc: int) -> bool:
        """Say whether it still begins with the bytes that were certain once."""
        ...

    def resume(self, size: int, crc: int) -> None:
        """Cut it back to what is certain and go on from there."""
        ...

    def begin(self) -> None:
        """Start again from nothing; what stands there stays until `settle`."""
        ...

    def append(self, data: bytes) -> None:
        """Take all of `data`."""
        ...

    def settle(self) -> None:
        """Make all that was taken since `begin` stand in the place of what was there."""
        ...

    def finish(self) -> None:
        """See that all of it is on the disk."""
        ...

    def close(self) -> None:
        """Give back what is open and forget what was begun but not settled."""
        ...


class FileSink:
    """A file; what is rebuilt is written beside it and then takes its place.

    Args:
        path: of a regular file, or of none yet; not of a symbolic link.
        keep_empty: whether there is a file even if it has no line.
    """

    def __init__(self, path: Path, *, keep_empty: bool) -> None:
        self.size = 0
        self.crc = 0
        self._path = path
        self._beside = path.with_name(f"{path.name}.rebuilding")
        self._keep_empty = keep_empty
        self._fd: int | None = None
        self._is_beside = False

    def is_intact(self, size: int, crc: int) -> bool:
        found = 0
        left = size
        with self._faults():
            try:
                with self._path.open("rb", buffering=0) as file:
                    while left and (data := file.read(min(left, _BLOCK_BYTES))):
                        found = zlib.crc32(data, found)
                        left -= len(data)
            except FileNotFoundError:
                return not size and not self._keep_empty
        return not left and found == crc

    def resume(self, size: int, crc: int) -> None:
        self.close()
        self.size, self.crc = size, crc
        with self._faults():
            if size or self._keep_empty:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
                os.ftruncate(self._fd, size)
            else:
                self._path.unlink(missing_ok=True)

    def begin(self) -> None:
        self.close()
        self.size = self.crc = 0
        self._is_beside = True
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
        with self._faults():
            self._fd = os.open(self._beside, flags, 0o644)

    def append(self, data: bytes) -> None:
        if not data:
            return
        with self._faults():
            if self._fd is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
                self._fd = os.open(self._path, flags, 0o644)
            _write(self._fd, data)
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def settle(self) -> None:
        with self._faults():
            if self._fd is not None:
                os.fsync(self._fd)
            if self.size or self._keep_empty:
                self._beside.replace(self._path)
                self._is_beside = False
            else:
                self.close()
                self._path.unlink(missing_ok=True)
            _sync_folder(self._path.parent)

    def finish(self) -> None:
        with self._faults():
            if self._fd is None:
                return
            os.fsync(self._fd)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._fd)):
                    return
        raise OutputError(f"{self._path}: was removed; run again to write it anew")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._is_beside:
            self._is_beside = False
            with suppress(OSError):
                self._beside.unlink()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self._path}: {error.strerror}") from error


class StreamSink:
    """An open descriptor, which takes all lines from the first again in each run."""

    def __init__(self, fd: int) -> None:
        self.size = 0
        self.crc = 0
        self._fd = fd

    def is_intact(self, size: int, crc: int) -> bool:
        return False

    def resume(self, size: int, crc: int) -> None:
        raise AssertionError("a stream is never intact")

    def begin(self) -> None:
        """Nothing stands there."""

    def append(self, data: bytes) -> None:
        try:
            _write(self._fd, data)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise OutputClosed("standard output: its reader has gone") from error
            raise OutputError(f"standard output: {error.strerror}") from error
        self.size += len(data)

    def settle(self) -> None:
        """What is written stands."""

    def finish(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The descriptor is not ours."""


class NoSink:
    """Takes lines that go nowhere."""

    size = 0
    crc = 0

    def is_intact(self, size: int, crc: int) -> bool:
        return True

    def resume(self, size: int, crc: int) -> None:
        """Nothing stands there."""

    def begin(self) -> None:
        """Nothing stands there."""

    def append(self, data: bytes) -> None:
        """Let it go."""

    def settle(self) -> None:
        """Nothing stands there."""

    def finish(self) -> None:
        """Nothing stands there."""

    def close(self) -> None:
        """Nothing is open."""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # someone else has made our standard output so
            select.select([], [fd], [])


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
