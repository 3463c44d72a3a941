"""A clock for records that tests move by hand."""

from __future__ import annotations

from headrace.clock import SystemClock


class MovableClock:
    """Time that stands still until it is moved; waiting follows the event loop."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._utc = start
        self._system = SystemClock(seed=0)

    def advance(self, seconds: float) -> None:
        """Let time pass for records and leases."""
        self._utc += seconds

    def monotonic(self) -> float:
        return self._system.monotonic()

    def utc(self) -> float:
        return self._utc

    def uniform(self) -> float:
        return self._system.uniform()

    async def sleep(self, seconds: float) -> None:
        await self._system.sleep(seconds)
