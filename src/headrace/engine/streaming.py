"""A streamed reply owns its permits until it ends, fails or is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

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
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()
        finally:
            if self._end():
                self._ticket.broke_off()

    def _end(self) -> bool:
        first, self._over = not self._over, True
        return first
