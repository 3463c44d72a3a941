"""Runs calls from an iterable in memory and gives their outcomes as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from typing import Any

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import Crew
from headrace.engine.meter import Meter
from headrace.engine.outcomes import EXPIRED, ended, failed, succeeded
from headrace.errors import BudgetSpent, CallError, Rejected
from headrace.model import Call, Handler, ItemState, Outcome

MakeCall = Callable[[int, Any], Call]
"""Makes the call of the item at an index; the outcome bears the call's `id`."""

_DONE = object()
_GRACE_S = 1.0
"""How long leaving waits for calls that do not heed their cancellation."""


class RunTools(msgspec.Struct, frozen=True):
    """What a run in memory works with."""

    handler: Handler
    crew: Crew
    meter: Meter
    clock: Clock
    make_call: MakeCall
    ahead: int
    """Outcomes that may lie unread before the run waits for its reader."""
    progressed: Callable[[], None] | None = None
    """Told after each outcome."""
    ordered: bool = False
    """Give outcomes in the order of the items; early ones wait, and count as unread."""


class Runner:
    """One run over one iterable.

    Memory is bounded by what is in flight and by the unread outcomes, never by the
    length of the iterable.
    """

    def __init__(
        self, items: Iterable[Any] | AsyncIterable[Any], tools: RunTools
    ) -> None:
        self._tools = tools
        self._sync: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._async = aiter(items)
            self._turn = asyncio.Lock()
        else:
            self._sync = iter(items)
        self._is_sized = isinstance(items, Sized)
        if isinstance(items, Sized):
            tools.meter.total = len(items)
        self._next_index = 0
        self._ready: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._due = 0
        self._arrived = asyncio.Event()
        self._is_read = True
        """Is the reader busy? Then nobody need be told that an outcome has come."""
        self._room = asyncio.Event()
        self._is_full = False
        self._active: dict[int, Call] = {}
        self._deadline_passed = False
        self._abandoned = False
        self._spent: BudgetSpent | None = None
        """Once set, nothing more is started."""

    async def outcomes(self, deadline_s: float | None) -> AsyncGenerator[Outcome, None]:
        """Yield each outcome as it comes; stop everything when the reader leaves.

        Args:
            deadline_s: seconds after which running items end as expired, and so do the
                waiting ones of an iterable with a length; None = no limit.

        Raises:
            Exception: what the iterable itself raises, after the outcomes that came.
        """
        # A task of its own, not a TaskGroup around the yields: a group would cancel
        # the reader's code between two outcomes.
        crew = asyncio.create_task(self._tools.crew.run(self._work))
        crew.add_done_callback(lambda _: self._arrived.set())
        timer = None
        if deadline_s is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(deadline_s, self._expire, crew)
        ready = self._ready
        try:
            while ready or not (crew.done() or self._abandoned):
                while ready:
                    yield self._next_ready()
                self._arrived.clear()
                self._is_read = False
                if not (crew.done() or self._abandoned):
                    await self._arrived.wait()
                self._is_read = True
            if self._deadline_passed and self._is_sized:
                for outcome in self._unstarted():
                    yield outcome
        finally:
            if timer is not None:
                timer.cancel()
            crew.cancel()
            await asyncio.wait([crew], timeout=0 if self._abandoned else _GRACE_S)
        _reraise(crew, expected_cancel=self._deadline_passed)

    def _next_ready(self) -> Outcome:
        outcome = self._ready.popleft()
        unread = len(self._ready) + len(self._early)
        if self._is_full and unread <= self._tools.ahead // 2:
            self._is_full = False
            self._room.set()
        return outcome

    async def _work(self) -> bool:
        if self._spent is not None and not self._is_sized:
            return False
        if self._sync is not None:
            item = next(self._sync, _DONE)
        else:
            item = await self._anext()
        if item is _DONE:
            return False
        index = self._next_index
        self._next_index = index + 1
        call = self._active[index] = self._tools.make_call(index, item)
        if self._spent is None:
            await self._make(call)
        else:
            self._deliver(failed(call, call.id, self._spent))
        if self._is_full:
            await self._room.wait()
        return True

    async def _make(self, call: Call) -> None:
        try:
            reply = await self._tools.handler(call)
        except (CallError, Rejected) as error:
            if isinstance(error, BudgetSpent):
                self._spent = BudgetSpent(str(error))
            self._deliver(failed(call, call.id, error))
        except asyncio.CancelledError:
            if self._deadline_passed:
                self._deliver(_expired(call))
            raise
        else:
            self._deliver(succeeded(call, call.id, reply))

    async def _anext(self) -> Any:
        assert self._async is not None
        async with self._turn:
            try:
                return await anext(self._async)
            except StopAsyncIteration:
                return _DONE

    def _deliver(self, outcome: Outcome) -> None:
        if self._active.pop(outcome.index, None) is None:
            return  # abandoned at the deadline: its outcome is out already
        tools, ready = self._tools, self._ready
        tools.meter.note(outcome)
        if tools.ordered:
            self._line_up(outcome)
        else:
            ready.append(outcome)
        if len(ready) + len(self._early) >= tools.ahead:
            self._is_full = True
            self._room.clear()
        if not self._is_read:
            self._arrived.set()
        if tools.progressed is not None:
            tools.progressed()

    def _line_up(self, outcome: Outcome) -> None:
        self._early[outcome.index] = outcome
        while self._due in self._early:
            self._ready.append(self._early.pop(self._due))
            self._due += 1

    def _expire(self, crew: asyncio.Task[None]) -> None:
        self._deadline_passed = True
        crew.cancel()
        asyncio.get_running_loop().call_later(_GRACE_S, self._abandon)

    def _abandon(self) -> None:
        """Wait no longer for calls that do not heed their cancellation."""
        self._abandoned = True
        for call in list(self._active.values()):
            self._deliver(_expired(call))
        self._arrived.set()

    def _unstarted(self) -> Iterator[Outcome]:
        assert self._sync is not None
        for item in self._sync:
            call = self._tools.make_call(self._next_index, item)
            self._next_index += 1
            outcome = _expired(call)
            self._tools.meter.note(outcome)
            yield outcome


def _expired(call: Call) -> Outcome:
    return ended(call, call.id, ItemState.EXPIRED, EXPIRED)


def _reraise(crew: asyncio.Task[None], *, expected_cancel: bool) -> None:
    """Raise what ended the crew, out of the group it came in."""
    if not crew.done():
        return
    if crew.cancelled():
        if not expected_cancel:
            raise asyncio.CancelledError
        return
    error = crew.exception()
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if error is not None:
        raise error
