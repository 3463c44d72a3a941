"""Work for a client, only as long as the client is there."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive


class ClientGone(Exception):
    """The client has left before it was answered: nobody reads the answer."""


class Presence:
    """Cancels the block when the client leaves; then it raises `ClientGone`.

    Only once the body has been read: until then, reading it tells.

    Args:
        receive: the request's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._worker: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._worker = asyncio.current_task()
        self._watcher = asyncio.create_task(self._watch())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._watcher is not None
        assert self._worker is not None
        self._watcher.cancel()
        if not self._gone or self._worker.uncancel() > 0:
            return  # whoever else has cancelled the work means it
        if isinstance(error, asyncio.CancelledError) or error is None:
            raise ClientGone from None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        assert self._worker is not None
        self._worker.cancel()
