"""One timer for all time limits: cancels the task whose time is up."""

from __future__ import annotations

import asyncio
import heapq

_SLACK = 1_024
"""Ended limits that may lie in the heap before it is built anew."""


class TimeLimit:
    """The time limit of one stretch of work; made by `Deadlines.start`."""

    __slots__ = ("_owner", "_task", "expired", "over")

    def __init__(self, owner: Deadlines, task: asyncio.Task[object] | None) -> None:
        self._owner = owner
        self._task = task
        self.expired = False
        self.over = False

    def stop(self) -> None:
        """End the limit: the work is done; idempotent."""
        if not self.over:
            self.over = True
            self._task = None
            self._owner.forget()

    def absorbs_cancel(self) -> bool:
        """Return whether the cancellation just caught was this limit's own.

        If so it is taken back from the task. A cancel from elsewhere at the same
        moment wins: then the answer is False.
        """
        if not self.expired:
            return False
        task = asyncio.current_task()
        return task is not None and task.uncancel() <= 0

    def expire(self) -> None:
        """Cancel the work; called by the timer."""
        task = self._task
        self.expired = True
        self.stop()
        if task is not None:
            task.cancel()


class Deadlines:
    """Keeps every time limit of one event loop on one timer.

    `asyncio.timeout` would do the same at 12 µs a call more (measured); this is the
    one place that may differ from it. Ended limits are forgotten lazily: memory is
    bounded by the limits running plus as many ended ones.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimeLimit]] = []
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._over = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, at: float) -> TimeLimit:
        """Cancel the current task at `at` (loop time) unless stopped before."""
        limit = TimeLimit(self, asyncio.current_task())
        self._made += 1
        heapq.heappush(self._heap, (at, self._made, limit))
        if self._timer is None or at < self._timer_at:
            self._arm(at)
        return limit

    def forget(self) -> None:
        """Count one ended limit; build the heap anew when most are ended."""
        self._over += 1
        if self._over > _SLACK and self._over * 2 > len(self._heap):
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
        self._timer = None
        assert self._loop is not None
        now = self._loop.time()
        while self._heap and (self._heap[0][2].over or self._heap[0][0] <= now):
            limit = heapq.heappop(self._heap)[2]
            if not limit.over:
                limit.expire()
            self._over -= 1
        if self._heap:
            self._arm(self._heap[0][0])

    def close(self) -> None:
        """Stop the timer; limits still running no longer fire."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
