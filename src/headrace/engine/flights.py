"""Calls under way, each made once for all who ask the same."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec

from headrace.model import Call, Reply


class Source(StrEnum):
    """Where an answer came from."""

    MADE = "made"
    KEPT = "kept"
    STALE = "stale"


class Landed(msgspec.Struct, frozen=True):
    """What a flight brought."""

    reply: Reply
    source: Source
    value: bytes | None = None
    """The reply as it is kept; None if it cannot be."""


Work = Callable[[], Awaitable[Landed]]


class Flight(msgspec.Struct, eq=False):
    """One call under way, and how many wait for it."""

    key: bytes
    call: Call
    """The call of the one who came first."""
    landing: asyncio.Future[Landed | Exception]
    task: asyncio.Task[None] | None = None
    waiting: int = 0


class Flights:
    """One call a key at a time, made by a task of its own.

    The task lives while somebody waits for it: the last one to leave cancels it, and
    whoever comes after that starts a new one. Errors are shared with those who wait,
    and forgotten.

    Invariant: a flight that can be joined has not been cancelled.

    Source: async-lru 2.x, the rule of its waiters (docs/design.md, Cache).
    """

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.landed = 0
        """Flights that have ended; whoever saw the same number twice missed none."""

    def find(self, key: bytes) -> Flight | None:
        """Return the flight of a key that may be joined."""
        return self._flights.get(key)

    def start(self, key: bytes, call: Call, work: Work) -> Flight:
        """Begin a flight; the caller waits for it at once."""
        landing = asyncio.get_running_loop().create_future()
        flight = self._flights[key] = Flight(key, call, landing)
        task = asyncio.create_task(self._fly(flight, work))
        flight.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._over(flight, task))
        return flight

    async def wait(self, flight: Flight) -> Landed:
        """Wait for a flight; to be cancelled harms nobody else who waits.

        Raises:
            Exception: what the call raised, a copy for each who waits.
        """
        flight.waiting += 1
        try:
            ended = await asyncio.shield(flight.landing)
        except asyncio.CancelledError:
            if flight.waiting == 1 and not flight.landing.done():
                await self._abandon(flight)
            raise
        finally:
            flight.waiting -= 1
        if isinstance(ended, Exception):
            # Raised as it is, it would gather the tracebacks of all who wait.
            raise copy.copy(ended)
        return ended

    async def close(self) -> None:
        """Cancel what is under way and wait for its end; idempotent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _fly(self, flight: Flight, work: Work) -> None:
        ended: Landed | Exception
        try:
            ended = await work()
        except Exception as error:  # noqa: BLE001  it belongs to those who wait
            ended = error
        self._forget(flight)
        if not flight.landing.done():
            flight.landing.set_result(ended)

    async def _abandon(self, flight: Flight) -> None:
        """Cancel a flight for which nobody waits, and wait until it holds nothing."""
        self._forget(flight)
        assert flight.task is not None
        flight.task.cancel()
        await asyncio.wait([flight.task])

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            self.landed += 1

    def _over(self, flight: Flight, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._forget(flight)
        if not flight.landing.done():
            flight.landing.cancel()
