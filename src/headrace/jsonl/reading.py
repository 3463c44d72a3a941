"""A batch file as numbered lines, in constant memory.

The input is read twice: once for its size and digest, which say whether a run goes on
with the same input, and once for its lines. So what cannot be read twice (standard
input, a pipe) is first copied to a nameless temporary file.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from hashlib import blake2b
from typing import BinaryIO, cast

import msgspec

from headrace.errors import InputError

MAX_LINE_BYTES = 16 * 2**20

_BLOCK_BYTES = 2**19  # about 2,000 lines of a small request
_STEP_BYTES = 2**26  # hashed in a thread between two looks at the event loop
BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


class Oversized(msgspec.Struct, frozen=True):
    """A line that was too long to keep."""

    size: int
    """Its length in bytes."""


class Lines(msgspec.Struct, frozen=True):
    """Some lines in a row, without their line feeds; blank ones included."""

    first: int
    """Number of the first of them, from 1."""
    lines: list[bytes | Oversized]


class Input(msgspec.Struct, frozen=True):
    """An open input and what identifies it.

    Args:
        name: as the user gave it, for messages; `-` is standard input.
        size: bytes as they lie there, packed if they are packed.
        digest: BLAKE2b of those bytes, in hex.
    """

    name: str
    size: int
    digest: str
    file: BinaryIO

    def blocks(self, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Lines]:
        """Give all lines from the start, about half a megabyte at a time.

        Raises:
            InputError: it is no UTF-8 text or a broken gzip file, cannot be read, or
                changed since it was opened.
        """
        self.file.seek(0)
        splitter = Splitter(max_line_bytes)
        number = 1
        try:
            for data in self._text():
                if lines := splitter.feed(data):
                    yield Lines(number, lines)
                    number += len(lines)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self.name}: cannot be read: {error}") from error
        if lines := splitter.rest():
            yield Lines(number, lines)
        if os.fstat(self.file.fileno()).st_size != self.size:
            raise InputError(f"{self.name}: changed while it was being read")

    def _text(self) -> Iterator[bytes]:
        packed = self.file.read(2) == _GZIP
        self.file.seek(0)
        if not packed and self.name.endswith(".gz") and self.size:
            raise InputError(f"{self.name}: is no gzip file, though named .gz")
        with ExitStack() as stack:
            source = self.file
            if packed:
                unpacked = stack.enter_context(gzip.GzipFile(fileobj=source, mode="rb"))
                source = cast("BinaryIO", unpacked)
            head = source.read(_BLOCK_BYTES)
            if head.startswith(WIDE):
                raise InputError(f"{self.name}: is UTF-16 or UTF-32, allowed is UTF-8")
            yield head.removeprefix(BOM)
            while data := source.read(_BLOCK_BYTES):
                yield data


class Splitter:
    """Cuts blocks into lines; of a line that is too long it keeps only the length."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_bytes = max_line_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0

    def feed(self, data: bytes) -> list[bytes | Oversized]:
        """Return the lines that end in `data`."""
        parts = data.split(b"\n")
        last = parts.pop()
        lines: list[bytes | Oversized] = []
        if parts:
            self._hold(parts[0])
            lines.append(self._take())
        if len(data) <= self._max_bytes:
            lines += parts[1:]
        else:
            lines += [self._measured(part) for part in parts[1:]]
        self._hold(last)
        return lines

    def rest(self) -> list[bytes | Oversized]:
        """Return the last line, if it did not end in a line feed."""
        return [self._take()] if self._held_bytes else []

    def _hold(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes > self._max_bytes:
            self._held.clear()
        else:
            self._held.append(part)

    def _take(self) -> bytes | Oversized:
        size, self._held_bytes = self._held_bytes, 0
        line = b"".join(self._held)
        self._held.clear()
        return line if size <= self._max_bytes else Oversized(size)

    def _measured(self, part: bytes) -> bytes | Oversized:
        return part if len(part) <= self._max_bytes else Oversized(len(part))


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Input]:
    """Open the file `name`, or standard input if it is `-`, and identify it.

    Cancelling is prompt, also while a pipe brings nothing.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    with ExitStack() as stack:
        try:
            file = _open(name, stack)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                spool = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))
                await _copy(file.fileno(), spool)
                file = spool
            size, digest = await _identify(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{name}: cannot be read: {reason}") from error
        yield Input(name, size, digest, file)


def _open(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        if sys.stdin is None:
            raise InputError("-: standard input is closed")
        return sys.stdin.buffer
    return stack.enter_context(open(name, "rb", buffering=0))


async def _copy(fd: int, spool: BinaryIO) -> None:
    while True:
        await _wait_readable(fd)
        data = os.read(fd, _BLOCK_BYTES)
        if not data:
            break
        spool.write(data)
    spool.flush()


async def _wait_readable(fd: int) -> None:
    """Wait until reading would not block, for what the event loop can watch."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except OSError:  # such as /dev/null, which is always ready
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


async def _identify(file: BinaryIO) -> tuple[int, str]:
    file.seek(0)
    hasher = blake2b(digest_size=16)
    size = 0
    while step := await asyncio.to_thread(_hash_some, file, hasher):
        size += step
    return size, hasher.hexdigest()


def _hash_some(file: BinaryIO, hasher: blake2b) -> int:
    done = 0
    while done < _STEP_BYTES and (data := file.read(_BLOCK_BYTES)):
        hasher.update(data)
        done += len(data)
    return done
