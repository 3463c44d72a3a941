"""A batch file as numbered lines while its bytes arrive, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from headrace.errors import InputError
from headrace.jsonl.reading import BOM, WIDE, Lines, Splitter

_HEAD_BYTES = 4
_PIECE_BYTES = 2**16  # parsed in half a millisecond: nobody else waits longer


async def lines_of(
    name: str, chunks: AsyncIterable[bytes], max_line_bytes: int
) -> AsyncIterator[Lines]:
    """Give all lines of what arrives; a byte order mark at its start is left out.

    Args:
        name: of the file, for messages.
        chunks: its bytes, in pieces of any size.
        max_line_bytes: of a line that is longer only the length is kept.

    Raises:
        InputError: it is UTF-16 or UTF-32.
    """
    splitter = Splitter(max_line_bytes)
    number = 1
    async for data in _headed(name, chunks):
        for start in range(0, len(data), _PIECE_BYTES):
            if lines := splitter.feed(data[start : start + _PIECE_BYTES]):
                yield Lines(number, lines)
                number += len(lines)
    if lines := splitter.rest():
        yield Lines(number, lines)


async def _headed(name: str, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Give the bytes without their byte order mark."""
    head: bytes | None = b""
    async for data in chunks:
        if head is None:
            yield data
            continue
        head += data
        if len(head) >= _HEAD_BYTES:
            yield _without_mark(name, head)
            head = None
    if head:
        yield _without_mark(name, head)


def _without_mark(name: str, head: bytes) -> bytes:
    if head.startswith(WIDE):
        raise InputError(f"{name}: is UTF-16 or UTF-32, allowed is UTF-8")
    return head.removeprefix(BOM)
