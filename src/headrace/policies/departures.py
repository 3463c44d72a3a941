"""Estimates how long a queue takes to empty, by Little's law."""

from __future__ import annotations

import msgspec

_WEIGHT = 0.1
"""Of the newest gap: the mean follows about the last ten departures."""


class Departures(msgspec.Struct, frozen=True, gc=False):
    """How often somebody leaves while others wait.

    Invariant: time in which nobody waited does not count, or a quiet hour would make
    the next queue look slow.
    Source: Little 1961: mean wait = mean number waiting / rate of departures.
    """

    last_at: float | None = None
    """When somebody last left others behind; None: nobody has since it was empty."""
    gap_s: float | None = None
    """Smoothed seconds between two departures; None: not known yet."""

    def left(self, now: float, behind: int) -> Departures:
        """Return what is known after a departure.

        Args:
            now: monotonic seconds.
            behind: how many still wait, >= 0.
        """
        last_at, gap_s = self.last_at, self.gap_s
        if last_at is not None:
            new_s = now - last_at
            gap_s = new_s if gap_s is None else gap_s + _WEIGHT * (new_s - gap_s)
        return Departures(now if behind else None, gap_s)

    def expected_wait_s(self, ahead: int) -> float | None:
        """Return seconds until `ahead` have left; None if nobody knows yet."""
        return None if self.gap_s is None else ahead * self.gap_s
