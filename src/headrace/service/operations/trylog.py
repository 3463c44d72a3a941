"""Logs the calls that failed for good, with the ids of what they belong to."""

from __future__ import annotations

import logging

from headrace.changes import Watcher
from headrace.clock import Clock
from headrace.events import TryFailed

_log = logging.getLogger("headrace.calls")
MOST_PER_S = 10
"""More failures in a second are counted, not told one by one."""


class TryLog(Watcher):
    """Tells of failures as they come, but never floods.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._told = 0
        self._untold = 0

    def tried(self, event: TryFailed) -> None:
        """Log a failure after which there is no other try."""
        if event.wait_s is not None:
            return
        now = self._clock.monotonic()
        if now - self._since >= 1.0:
            if self._untold:
                _log.warning("%d more calls failed for good", self._untold)
            self._since, self._told, self._untold = now, 0, 0
        if self._told >= MOST_PER_S:
            self._untold += 1
            return
        self._told += 1
        job, _, item = event.id.rpartition("-")
        _log.warning(
            "a call failed for good: %s, %s",
            event.code,
            event.message,
            extra={
                "job": job,
                "item": item,
                "attempt": event.attempt,
                "endpoint": event.endpoint,
            },
        )
