"""Calls a blocking function in threads of our own.

They are daemons: a hung one never holds up leaving, which an executor's would.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
from collections.abc import Callable
from typing import Any

from headrace.errors import CallError, ConfigError
from headrace.model import Call, Endpoint, Reply
from headrace.providers.functions.failures import translate


class ThreadProvider:
    """Answers a call with `function(call.payload)` in one of `size` threads.

    A thread whose call is cancelled cannot be stopped: it is abandoned, counted in
    `abandoned`, and replaced by a new one when there is work. It ends when its
    function returns. Used from one event loop.

    Raises:
        ConfigError: a coroutine function, or `size` below 1.
    """

    def __init__(self, function: Callable[[Any], Any], size: int) -> None:
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                f"function {function.__qualname__} is a coroutine function; "
                "it needs no thread: use CoroutineProvider"
            )
        if size < 1:
            raise ConfigError(f"size {size} of a thread pool is less than 1")
        self._function = function
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Thread] = []
        self._closed = False
        self.abandoned = 0
        """Threads given up so far because their call was cancelled."""

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        async with self._slots:
            thread = self._idle.pop() if self._idle else _Thread(self._function)
            answer = thread.run(call.payload, asyncio.get_running_loop())
            try:
                value = await answer
            except asyncio.CancelledError:
                self.abandoned += 1
                thread.stop()
                raise
            except CallError:
                self._keep(thread)
                raise
            self._keep(thread)
            return Reply(value)

    def _keep(self, thread: _Thread) -> None:
        if self._closed:
            thread.stop()
        else:
            self._idle.append(thread)

    async def close(self) -> None:
        """Let idle threads end; hung ones are not waited for."""
        self._closed = True
        while self._idle:
            self._idle.pop().stop()


_Task = tuple[
    Any, "asyncio.Future[Any]", asyncio.AbstractEventLoop, contextvars.Context
]


class _Thread:
    """One daemon thread that runs one call after another until told to stop."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._inbox: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="headrace-call", daemon=True).start()

    def run(
        self, argument: object, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = loop.create_future()
        self._inbox.put((argument, answer, loop, contextvars.copy_context()))
        return answer

    def stop(self) -> None:
        """End the thread after the call it is in."""
        self._inbox.put(None)

    def _work(self) -> None:
        while (task := self._inbox.get()) is not None:
            argument, answer, loop, context = task
            value, error = self._call(context, argument)
            try:
                loop.call_soon_threadsafe(_settle, answer, value, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del task, argument, answer, value, error  # hold nothing while idle

    def _call(
        self, context: contextvars.Context, argument: object
    ) -> tuple[Any, CallError | None]:
        try:
            return context.run(self._function, argument), None
        except BaseException as error:  # noqa: BLE001  the user's code, even its SystemExit
            failure = translate(error)
            if failure is not error:
                failure.__cause__ = error
            return None, failure


def _settle(
    answer: asyncio.Future[Any], value: object, error: CallError | None
) -> None:
    if answer.done():  # cancelled meanwhile
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)
