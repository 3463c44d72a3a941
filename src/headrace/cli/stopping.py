"""Ctrl-C and SIGTERM: the first asks a run to stop, the second does not wait."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.engine.shutdown import Shutdown


class Stopping:
    """Hears the signals of one run.

    While nothing runs yet (`cancelling`), the first signal ends the work at hand at
    once; later it lets the calls in flight finish, and the second cancels them.

    Args:
        shutdown: told of each request to stop.
        on_request: told which request this is, from 1.
    """

    def __init__(self, shutdown: Shutdown, on_request: Callable[[int], None]) -> None:
        self._shutdown = shutdown
        self._on_request = on_request
        self._task: asyncio.Task[object] | None = None
        self.requests = 0

    def request(self) -> None:
        """Ask to stop, as a signal does."""
        self.requests += 1
        self._shutdown.request()
        if self._task is not None:
            self._task.cancel()
        self._on_request(self.requests)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear signals; afterwards they do what they did before."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.request)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """Let a signal cancel the current task within this block.

        Raises:
            Stopped: it did.
        """
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        try:
            if self.requests:
                raise Stopped
            yield
        except asyncio.CancelledError:
            if self.requests and task.uncancel() <= 0:
                raise Stopped from None
            raise
        finally:
            self._task = None


class Stopped(Exception):
    """The user asked to stop before anything was sent."""
