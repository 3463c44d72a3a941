"""Refuses calls that would wait too long in a queue, and says when to come again."""

from __future__ import annotations

import math
from collections.abc import Callable

from headrace.errors import QueueFull
from headrace.model import Call
from headrace.policies.pace import Pace


class Shedding:
    """How many calls may wait at a gate.

    Items of jobs are never refused: they wait in the store, and few of them at the
    gate. Nor is a call that was let in before and is tried again.

    Args:
        max_waiting: direct calls that may wait, >= 0; None = any number.
    """

    def __init__(self, max_waiting: int | None = None) -> None:
        self._max_waiting = max_waiting
        self._pace = Pace()

    def ended(self, now: float) -> None:
        """Note that a call has ended."""
        self._pace = self._pace.ended(now)

    def wait_s(self, waiting: int, now: float) -> float:
        """Return about how long one who comes now waits, by Little's law."""
        return self._pace.wait_s(waiting, now)

    def check(
        self, call: Call, waiting: int, direct_calls: Callable[[], int], now: float
    ) -> None:
        """Refuse a call that would have to wait.

        Args:
            call: comes now.
            waiting: calls that wait, items of jobs among them.
            direct_calls: counts those that are none.
            now: monotonic seconds.

        Raises:
            QueueFull: as many wait as may.
        """
        if self._max_waiting is None or call.job or call.trace.tries:
            return
        if waiting < self._max_waiting or direct_calls() < self._max_waiting:
            return
        wait_s = self.wait_s(waiting, now)
        raise QueueFull(
            f"{waiting} calls wait already, which is as many as may; "
            f"try again in about {math.ceil(wait_s)} s",
            wait_s,
        )
