"""Reading an answer's body: bounded, decompressed, whole or in chunks."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from headrace.errors import BadReply, CallError
from headrace.model import Usage
from headrace.providers.transport import Incoming

MAX_ERROR_BYTES = 1_048_576
"""So much of an unsuccessful answer is kept."""
_MAX_EVENT_BYTES = 1_048_576
"""Longer lines of a stream pass, but are not looked into."""


async def read_body(incoming: Incoming, max_bytes: int) -> bytes:
    """Return a whole body.

    Raises:
        BadReply: it is longer than `max_bytes`, or compressed in a way not understood.
        Interrupted: it broke off.
    """
    try:
        body = await incoming.chunk()
        if body and (following := await incoming.chunk()):
            body = await _gather(incoming, [body, following], max_bytes)
        if len(body) > max_bytes:
            raise too_long(max_bytes)
        encoding = incoming.headers.get("content-encoding")
        return body if encoding is None else _expand(body, encoding, max_bytes)
    except BaseException:
        incoming.abort()
        raise


async def _gather(incoming: Incoming, parts: list[bytes], max_bytes: int) -> bytes:
    size = sum(map(len, parts))
    while size <= max_bytes and (part := await incoming.chunk()):
        parts.append(part)
        size += len(part)
    if size > max_bytes:
        raise too_long(max_bytes)
    return b"".join(parts)


async def read_error_body(incoming: Incoming) -> bytes:
    """Return what can be had of the body of an unsuccessful answer, bounded.

    Its status tells more than that its body is broken or long.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while size < MAX_ERROR_BYTES and (part := await incoming.chunk()):
            parts.append(part)
            size += len(part)
        body = b"".join(parts)
        encoding = incoming.headers.get("content-encoding")
        if encoding is not None:
            body = _expand(body, encoding, MAX_ERROR_BYTES)
    except CallError:
        body = b"".join(parts)
    finally:
        incoming.abort()  # does nothing to a connection that was given back
    return body[:MAX_ERROR_BYTES]


def too_long(max_bytes: int) -> BadReply:
    return BadReply(f"the answer is longer than the {max_bytes} bytes allowed")


def _expand(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress what some servers send though we ask for plain bytes."""
    word = encoding.strip().lower()
    if word in ("", "identity") or not body:
        return body
    if word not in ("gzip", "x-gzip", "deflate"):
        raise BadReply(f"the answer is compressed by {word[:40]!r}, not asked for")
    for bits in (47, -15):  # gzip or zlib by its head; or bare, as some do "deflate"
        unpacker = zlib.decompressobj(wbits=bits)
        try:
            plain = unpacker.decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        if len(plain) > max_bytes:
            raise too_long(max_bytes)
        if unpacker.eof:
            return plain
    raise BadReply(f"the answer is no valid {word}")


class Chunks:
    """The chunks of a streamed body, as they come.

    Owns the connection until the stream ends, fails or is closed.

    Args:
        incoming: the answer.
        first: the chunk that has come already.
        max_bytes: of the whole stream.
        look: is shown the data of each event.
    """

    def __init__(
        self,
        incoming: Incoming,
        first: bytes,
        max_bytes: int,
        look: Callable[[bytes], None],
    ) -> None:
        self._incoming = incoming
        self._first: bytes | None = first
        self._left = max_bytes
        self._line = b""
        self._look = look
        self._ended = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            chunk = await self._next()
        except BaseException:
            await self.aclose()
            raise
        if not chunk:
            self._ended = True
            raise StopAsyncIteration
        self._watch(chunk)
        return chunk

    async def _next(self) -> bytes:
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = await self._incoming.chunk()
        self._left -= len(chunk)
        if self._left < 0:
            raise BadReply("the streamed answer is longer than allowed")
        return chunk

    async def aclose(self) -> None:
        """Close the connection if the stream has not ended; idempotent."""
        if not self._ended:
            self._ended = True
            self._incoming.abort()

    def _watch(self, chunk: bytes) -> None:
        *lines, self._line = (self._line + chunk).split(b"\n")
        if len(self._line) > _MAX_EVENT_BYTES:
            self._line = b""
        for line in lines:
            if line.startswith(b"data:"):
                self._look(line[5:])


def more(known: Usage | None, told: Usage) -> Usage:
    """Return what two events of one stream say together; counts only grow."""
    if known is None:
        return told
    return Usage(
        max(known.input_tokens, told.input_tokens),
        max(known.output_tokens, told.output_tokens),
    )
