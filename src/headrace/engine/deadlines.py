"""One timer for all time limits: cancels the task whose time is up."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque

import msgspec

from headrace.errors import TimedOut

_SLACK = 1_024
"""Ended limits that may be kept before they are swept."""


class TimeLimit(msgspec.Struct, eq=False):
    """The time limit of one stretch of work; made by `Deadlines.start`."""

    at: float
    """Loop time at which the work is cancelled."""
    task: asyncio.Task[object] | None
    expired: bool = False
    over: bool = False

    def absorbs_cancel(self) -> bool:
        """Return whether the cancellation just caught was this limit's own.

        If so it is taken back from the task. A cancel from elsewhere at the same
        moment wins: then the answer is False.
        """
        if not self.expired:
            return False
        task = asyncio.current_task()
        return task is not None and task.uncancel() <= 0


class Deadlines:
    """Keeps every time limit of one event loop on one timer.

    `asyncio.timeout` would do the same at 12 µs a call more (measured); this is the
    one place that may differ from it. Ended limits are forgotten lazily: memory is
    bounded by the limits running plus as many ended ones, or 1,024.
    """

    def __init__(self) -> None:
        self._line: deque[TimeLimit] = deque()
        """In order of `at`: equal time limits only ever join at the end."""
        self._heap: list[tuple[float, int, TimeLimit]] = []
        """Those that end before the last of the line."""
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._over = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, at: float) -> TimeLimit:
        """Cancel the current task at `at` (loop time) unless stopped before."""
        limit = TimeLimit(at, asyncio.current_task(self._loop))
        line = self._line
        if not line or at >= line[-1].at:
            line.append(limit)
        else:
            self._made += 1
            heapq.heappush(self._heap, (at, self._made, limit))
        if at < self._timer_at:
            self._arm(at)
        return limit

    def stop(self, limit: TimeLimit) -> None:
        """End a limit: its work is done; idempotent."""
        if limit.over:
            return
        limit.over = True
        limit.task = None
        self._over += 1
        if self._over > _SLACK:
            self._sweep()

    def _sweep(self) -> None:
        """Drop the ended limits if they are most of all."""
        if self._over * 2 > len(self._line) + len(self._heap):
            self._line = deque([limit for limit in self._line if not limit.over])
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)
            self._over = 0

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, math.inf
        assert self._loop is not None
        now = self._loop.time()
        line, heap = self._line, self._heap
        while line and (line[0].over or line[0].at <= now):
            self._end(line.popleft())
        while heap and (heap[0][2].over or heap[0][0] <= now):
            self._end(heapq.heappop(heap)[2])
        next_at = min(
            line[0].at if line else math.inf, heap[0][0] if heap else math.inf
        )
        if next_at < math.inf:
            self._arm(next_at)

    def _end(self, limit: TimeLimit) -> None:
        """Let go of a limit that is over, or cancel its work: the time is up."""
        if limit.over:
            self._over -= 1
            return
        task, limit.task = limit.task, None
        limit.expired = limit.over = True
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stop the timer; limits still running no longer fire."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf


def timed_out(timeout_s: float) -> TimedOut:
    """Return the error of an attempt whose time is up."""
    return TimedOut(
        f"no answer within {timeout_s:g} s; a longer --timeout may help",
    )
