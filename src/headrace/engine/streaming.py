"""A streamed reply is over when it ends, fails or is closed; it owns its permits till then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from headrace.engine.deadlines import Deadlines, timed_out
from headrace.engine.ticket import Ticket
from headrace.model import Reply


class OwnedChunks:
    """Chunks of a streamed reply that give the permits back when they end.

    Args:
        ticket: holds the permits.
        reply: what came back; its chunks are read through this from now on.
        deadlines: keeps the time limits.
        timeout_s: time limit of each chunk.
    """

    def __init__(
        self, ticket: Ticket, reply: Reply, deadlines: Deadlines, timeout_s: float
    ) -> None:
        assert reply.chunks is not None
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._ticket = ticket
        self._reply = reply
        self._chunks = reply.chunks
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next_in_time()
        except StopAsyncIteration:
            if self._end():
                self._ticket.succeeded(self._reply.usage, self._reply.quotas)
            raise
        except BaseException as error:
            if self._end():
                self._ticket.failed(error)
            raise

    async def _next_in_time(self) -> bytes:
        loop_time = asyncio.get_running_loop().time()
        limit = self._deadlines.start(loop_time + self._timeout_s)
        try:
            return await anext(self._chunks)
        except asyncio.CancelledError:
            if limit.absorbs_cancel():
                raise timed_out(self._timeout_s) from None
            raise
        finally:
            self._deadlines.stop(limit)

    async def aclose(self) -> None:
        """Stop reading: close the call and give its permits back; idempotent."""
        try:
            await close(self._chunks)
        finally:
            if self._end():
                self._ticket.broke_off()

    def _end(self) -> bool:
        first, self._over = not self._over, True
        return first


def at_end(reply: Reply, end: Callable[[], None]) -> Reply:
    """Call `end` once the reply is over: now, or if it is streamed when that ends.

    Its chunks are read through what is returned. By then `reply.usage` says what they
    have said of their tokens.
    """
    if reply.chunks is None:
        end()
    else:
        reply.chunks = _EndedChunks(reply.chunks, end)
    return reply


class _EndedChunks:
    """Chunks of a streamed reply at whose end something is to be done."""

    def __init__(self, chunks: AsyncIterator[bytes], end: Callable[[], None]) -> None:
        self._chunks = chunks
        self._end: Callable[[], None] | None = end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except BaseException:
            self._finish()
            raise

    async def aclose(self) -> None:
        """Stop reading; idempotent."""
        try:
            await close(self._chunks)
        finally:
            self._finish()

    def _finish(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()


async def close(chunks: AsyncIterator[bytes]) -> None:
    """Stop reading chunks that may have a call to close."""
    closing = getattr(chunks, "aclose", None)
    if closing is not None:
        await closing()
