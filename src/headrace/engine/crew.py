"""Long-lived workers: as many as may usefully wait at the gate, sleepers replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from headrace.engine.shutdown import Drained

MAX_RESTING = 20_000
"""Items that may back off at the same time, each about 2 KB; more wait their turn."""

Work = Callable[[], Awaitable[bool]]
"""Takes the next item and does it; returns False if there is none."""


def window_of(capacity: int) -> int:
    """Return how many items may be active for `capacity` slots.

    Source: docs/design.md, "The life of a call", step 3.
    """
    return -(-3 * capacity // 2) + 16


def workers_for(capacity: int) -> int:
    """Return how many workers keep `capacity` slots busy: a few wait at the gate."""
    return capacity + capacity // 8 + 8


def ahead_of(started: int, spent_s: float) -> int:
    """Return how many items to lease beyond the window at the present pace.

    As many as start in 50 ms: short calls would else wait for the store more than they
    run. At most 1,000, so that little is held that others could run.
    """
    return min(1_000, int(0.05 * started / spent_s))


class Crew:
    """Runs `work` with up to `window` workers at once, plus those that rest.

    Long-lived workers cost less than a task an item. An item that backs off rests: its
    worker sleeps and another takes its place, so that waiting starves nobody.

    Args:
        window: workers that are not resting, >= 1.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._naps: set[asyncio.Future[None]] = set()
        self._drained = False
        self.resting = 0
        self.joined = 0
        """Of those who rest, how many wait for an equal call under way."""
        self._workers = 0
        self._work: Work | None = None
        self._group: asyncio.TaskGroup | None = None

    async def rest(self, seconds: float) -> None:
        """Wait `seconds` without counting as active."""
        nap = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(seconds, _wake, nap)
        try:
            await self.rest_until(nap)
        finally:
            timer.cancel()

    async def rest_until(self, turn: asyncio.Future[None]) -> None:
        """Wait for a turn without counting as active; `Drained` ends it as well."""
        if self._drained:
            raise Drained
        self._naps.add(turn)
        self.resting += 1
        if self.resting < MAX_RESTING:
            self._reinforce()
        try:
            await turn
        finally:
            self._naps.discard(turn)
            self.resting -= 1

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Wait in this block without counting as active: another makes the call."""
        self.resting += 1
        self.joined += 1
        if self.resting < MAX_RESTING:
            self._reinforce()
        try:
            yield
        finally:
            self.resting -= 1
            self.joined -= 1

    def drain(self) -> None:
        """Send home whoever rests: their `rest` raises `Drained`, now and later."""
        self._drained = True
        for nap in self._naps:
            if not nap.done():
                nap.set_exception(Drained())

    def follow(self, capacity: int) -> None:
        """Keep as many workers as `capacity` slots can use: some wait at the gate."""
        self._window = workers_for(capacity)
        self._reinforce()

    def surge(self, count: int) -> None:
        """Let so many more workers take an item at once, whoever waits at the gate.

        They go home when done, if the window is full.
        """
        for _ in range(count):
            self._hire()

    async def run(self, work: Work) -> None:
        """Work until `work` says that there is no more; an error of it ends all."""
        self._work = work
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._reinforce()
        self._group = None

    def _reinforce(self) -> None:
        while self._group is not None and self._workers - self.resting < self._window:
            self._hire()

    def _hire(self) -> None:
        if self._group is not None:
            self._workers += 1
            self._group.create_task(self._labour())

    async def _labour(self) -> None:
        assert self._work is not None
        try:
            while await self._work():
                if self._workers - self.resting > self._window:
                    return
            self._group = None
        finally:
            self._workers -= 1


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)
