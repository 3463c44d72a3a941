"""Calls a coroutine function in the event loop itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.errors import CallError
from headrace.model import Call, Endpoint, Reply
from headrace.providers.functions.failures import translate


class CoroutineProvider:
    """Answers a call with `await function(call.payload)`.

    The function shares the event loop: one that blocks, blocks everything; give such
    work to a thread or a process.
    """

    def __init__(self, function: Callable[[Any], Awaitable[Any]]) -> None:
        self._function = function

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        try:
            return Reply(await self._function(call.payload))
        except CallError:
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            # The function gave up something of its own; nobody cancelled the call.
            raise translate(error) from error
        except Exception as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Nothing to give back."""


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
