"""The ways in which providers count calls or tokens per minute.

Each meter is told the time. `charge` takes `cost` units or takes nothing and says how
long to wait; `adjust` corrects a charge once the real cost is known.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, Protocol

WINDOW_S = 60.0
_ROUNDING = 1e-9
"""Relative slack: sums of floats must not refuse the last unit."""

RateModel = Literal[
    "token_bucket", "sliding_log", "fixed_minute", "slices_1s", "slices_10s"
]


class Charge:
    """Units taken at a moment; a meter's own record."""

    __slots__ = ("at_s", "cost", "meter")

    def __init__(self, meter: Meter, at_s: float, cost: float) -> None:
        self.meter = meter
        self.at_s = at_s
        self.cost = cost


class Meter(Protocol):
    """One limit per minute."""

    limit: float

    def wait_s(self, now: float, cost: float) -> float:
        """Return how long until `cost` would fit, 0.0 = now, inf = never."""
        ...

    def charge(self, now: float, cost: float) -> Charge:
        """Take `cost` units; the caller has seen that they fit."""
        ...

    def adjust(self, now: float, charge: Charge, cost: float) -> None:
        """Make `charge` worth `cost` from now on."""
        ...

    def remaining(self, now: float) -> float:
        """Return the units left, >= 0."""
        ...

    def reset_s(self, now: float) -> float:
        """Return the seconds until the limit is wholly free again."""
        ...


class TokenBucket:
    """Holds `limit` units, refilled evenly within a minute."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._level = limit
        self._at_s = -math.inf

    def wait_s(self, now: float, cost: float) -> float:
        if cost > self.limit:
            return math.inf
        missing = cost - self._filled(now)
        if missing <= self.limit * _ROUNDING:
            return 0.0
        return missing * WINDOW_S / self.limit

    def charge(self, now: float, cost: float) -> Charge:
        self._level = self._filled(now) - cost
        return Charge(self, now, cost)

    def adjust(self, now: float, charge: Charge, cost: float) -> None:
        self._level = min(self.limit, self._filled(now) + charge.cost - cost)
        charge.cost = cost

    def remaining(self, now: float) -> float:
        return max(0.0, self._filled(now))

    def reset_s(self, now: float) -> float:
        return (self.limit - self._filled(now)) * WINDOW_S / self.limit

    def _filled(self, now: float) -> float:
        if now > self._at_s:
            gained = (now - self._at_s) * self.limit / WINDOW_S
            self._level = min(self.limit, self._level + gained)
            self._at_s = now
        return self._level


class SlidingLog:
    """Counts what was taken within exactly the last minute."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._log: deque[Charge] = deque()
        self._used = 0.0

    def wait_s(self, now: float, cost: float) -> float:
        if cost > self.limit:
            return math.inf
        self._expire(now)
        missing = self._used + cost - self.limit
        if missing <= self.limit * _ROUNDING:
            return 0.0
        for charge in self._log:
            missing -= charge.cost
            if missing <= self.limit * _ROUNDING:
                return charge.at_s + WINDOW_S - now
        return WINDOW_S

    def charge(self, now: float, cost: float) -> Charge:
        self._expire(now)
        charge = Charge(self, now, cost)
        self._log.append(charge)
        self._used += cost
        return charge

    def adjust(self, now: float, charge: Charge, cost: float) -> None:
        self._expire(now)
        if charge.at_s > now - WINDOW_S:
            self._used += cost - charge.cost
            charge.cost = cost

    def remaining(self, now: float) -> float:
        self._expire(now)
        return max(0.0, self.limit - self._used)

    def reset_s(self, now: float) -> float:
        self._expire(now)
        return self._log[-1].at_s + WINDOW_S - now if self._log else 0.0

    def _expire(self, now: float) -> None:
        log = self._log
        while log and log[0].at_s <= now - WINDOW_S:
            self._used -= log.popleft().cost
        if not log:
            self._used = 0.0


class FixedWindow:
    """Counts from zero at each full minute, or at each full slice of one.

    A slice of `window_s` holds its part of the minute's limit. What is told is the
    minute's, as Azure OpenAI tells it: who is refused may be told that much is left.
    """

    def __init__(self, limit: float, window_s: float = WINDOW_S) -> None:
        self.limit = limit
        self._window_s = window_s
        self._room = limit * window_s / WINDOW_S
        self._number = -math.inf
        self._used = 0.0
        self._minute = -math.inf
        self._used_in_minute = 0.0

    def wait_s(self, now: float, cost: float) -> float:
        if cost > self._room:
            return math.inf
        self._turn(now)
        if self._used + cost <= self._room * (1 + _ROUNDING):
            return 0.0
        return self.reset_s(now)

    def charge(self, now: float, cost: float) -> Charge:
        self._turn(now)
        self._used += cost
        self._used_in_minute += cost
        return Charge(self, now, cost)

    def adjust(self, now: float, charge: Charge, cost: float) -> None:
        self._turn(now)
        change = cost - charge.cost
        if charge.at_s // WINDOW_S == self._minute:
            self._used_in_minute += change
            charge.cost = cost
        if charge.at_s // self._window_s == self._number:
            self._used += change

    def remaining(self, now: float) -> float:
        """Return what is left of the minute."""
        self._turn(now)
        return max(0.0, self.limit - self._used_in_minute)

    def reset_s(self, now: float) -> float:
        return self._window_s - now % self._window_s

    def _turn(self, now: float) -> None:
        number = now // self._window_s
        if number != self._number:
            self._number, self._used = number, 0.0
        minute = now // WINDOW_S
        if minute != self._minute:
            self._minute, self._used_in_minute = minute, 0.0


class Rise:
    """Refuses calls that come much faster than a second ago.

    Args:
        per_s: calls by which a second may exceed the one before it.
    """

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._second = -math.inf
        self._count = 0
        self._room = per_s

    def wait_s(self, now: float) -> float:
        """Return how long until one more call is allowed, 0.0 = now."""
        second = now // 1.0
        if second != self._second:
            before = self._count if second == self._second + 1 else 0
            self._second, self._count, self._room = second, 0, before + self.per_s
        return 0.0 if self._count < self._room else second + 1.0 - now

    def charge(self) -> None:
        """Count a call that was let in."""
        self._count += 1


_WINDOWS_S = {"fixed_minute": WINDOW_S, "slices_1s": 1.0, "slices_10s": 10.0}


def meter(model: RateModel, limit: float) -> Meter:
    """Return a meter with nothing taken yet."""
    if model == "token_bucket":
        return TokenBucket(limit)
    if model == "sliding_log":
        return SlidingLog(limit)
    return FixedWindow(limit, _WINDOWS_S[model])
