"""The only place that reads clocks, sleeps and draws random numbers."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance, handed to whoever needs them."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean something."""
        ...

    def utc(self) -> float:
        """Return seconds since 1970, UTC, for records."""
        ...

    def uniform(self) -> float:
        """Return a number u with 0 <= u < 1."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; may be cancelled at any moment."""
        ...


class SystemClock:
    """The machine's clock; its monotonic time is that of asyncio's and uvloop's timers."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  jitter, not secrets

    def utc(self) -> float:
        return time.time()

    def uniform(self) -> float:
        return self._random.random()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def thread_monotonic() -> float:
    """Return monotonic seconds for code that runs in a thread of its own."""
    return time.monotonic()


def sleep_thread(seconds: float) -> None:
    """Block the calling thread."""
    time.sleep(seconds)
