"""How fast calls end, and so how long one that comes now will wait."""

from __future__ import annotations

import math

import msgspec

_TAU_S = 30.0
"""Ends older than that hardly count."""
_UNKNOWN_S = 1.0
"""Told as the wait while no call has ended yet."""


class Pace(msgspec.Struct, frozen=True, gc=False):
    """Calls that end per second, the recent ones counted most."""

    per_s: float = 0.0
    at: float = -math.inf
    """When the last one ended; monotonic seconds."""
    since: float = -math.inf
    """When the first one ended."""

    def ended(self, now: float) -> Pace:
        """Return the pace after one more end."""
        if self.at == -math.inf:
            return Pace(0.0, now, now)
        kept = math.exp((self.at - now) / _TAU_S)
        return Pace(self.per_s * kept + 1.0 / _TAU_S, now, self.since)

    def wait_s(self, waiting: int, now: float) -> float:
        """Return the seconds that one who comes now waits behind `waiting` others.

        Little's law: who waits, divided by how many leave a second. Early on, the
        average over less than its whole window is scaled up.
        """
        span_s = now - self.since
        if self.per_s <= 0.0 or span_s <= 0.0:
            return _UNKNOWN_S
        seen = 1.0 - math.exp(-span_s / _TAU_S)
        per_s = self.per_s * math.exp((self.at - now) / _TAU_S) / seen
        return (waiting + 1) / per_s
