"""One rate limit: paces what starts, and counts it so that no window is overrun.

A dimension (calls, or tokens) does two things to a call:

- it *paces*: calls start evenly, with bursts up to the largest single cost (GCRA);
- it *counts*: a log of time slices; nothing starts before the slices of the last
  window have room for it. The log alone gives the guarantee.

Guarantee: if every call reaches the server 0 to J seconds after its start, no window of
W seconds, both ends included, ever sees more than N units arrive.
Proof: units that arrive within W of each other started within W + J of each other. Let
`k` be the slice of an earlier start `a`, `m` that of a later start `b`. Slice `k` is
left out of the sum checked at `b` only if m - k >= span = ceil((W + J) / slice) + 1; then
b - a > (m - k - 1) * slice >= W + J. So the sum checked at the last start in a window
holds the whole window, and it was at most N. Slices are powers of two seconds long, so
that their numbers are exact in floating point.
This holds whatever the pace does, for costs of any size up to N, and while N moves. It
is enough for servers with a sliding log, a fixed window, or a token bucket of N units.
Price: the mean is N per span slices instead of W, 0.8 % less for a minute and 0.2 s.
"""

from __future__ import annotations

import math

import msgspec

from headrace.model import TokenAccounting

_SLICES = 200
"""Least slices a window: each one costs at most 1 / 200 of the limit."""
_LATE_S = 0.1
"""Pace that may be made up for after a late start; the log still holds."""
_ALPHA = 0.2
"""Weight of the largest call in what is learnt of used / reserved."""
_LEAST_RATIO = 0.02
_EAGER = 0.9
"""With refunds to come the pace runs a little ahead; the log holds it back."""
_NEVER = -(2**62)


class Stated(msgspec.Struct, frozen=True, gc=False):
    """What a dimension is limited to."""

    name: str
    """`calls`, `tokens`, `input_tokens` or `output_tokens`."""
    limit: float
    """N: units that may arrive in any window, > 0."""
    window_s: float
    jitter_s: float
    accounting: TokenAccounting
    rate: float
    """Pace in units/s, N / (W + J); the log brings the mean down to what is safe."""
    slice_s: float
    span: int
    """Slices until what was taken in one is free again."""


def stated(
    name: str,
    limit: float,
    window_s: float,
    jitter_s: float,
    accounting: TokenAccounting,
) -> Stated:
    """Return what follows from a stated limit."""
    slice_s = 2.0 ** math.floor(math.log2(window_s / _SLICES))
    span = math.ceil((window_s + jitter_s) / slice_s) + 1
    rate = limit / (window_s + jitter_s)
    return Stated(name, limit, window_s, jitter_s, accounting, rate, slice_s, span)


def keeping(old: Stated) -> Stated:
    """Return the same limit at a provider that keeps what was reserved."""
    return stated(old.name, old.limit, old.window_s, old.jitter_s, "reserved")


class Dimension(msgspec.Struct, frozen=True, gc=False):
    """One limit, and what was taken of it."""

    stated: Stated
    burst: float = 1.0
    """B: units that may start at once after a pause; the largest single cost so far."""
    ratio: float = 1.0
    """Used / reserved, learnt by settling; 1 where `reserved` is what counts."""
    blocked_until: float = 0.0
    clear_at: float = 0.0
    """When all that was reserved has been worked off at `rate` (GCRA's TAT)."""
    index: int = _NEVER
    """Number of the newest slice that anything was taken in."""
    newest: float = 0.0
    """Units taken in the newest slice."""
    total: float = 0.0
    """Units taken in all slices held."""
    older: tuple[float, ...] = ()
    """Units taken in the slices before the newest, oldest first, at most span - 1."""

    @property
    def name(self) -> str:
        return self.stated.name

    @property
    def limit(self) -> float:
        return self.stated.limit

    @property
    def window_s(self) -> float:
        return self.stated.window_s

    @property
    def jitter_s(self) -> float:
        return self.stated.jitter_s

    @property
    def accounting(self) -> TokenAccounting:
        return self.stated.accounting

    @property
    def rate(self) -> float:
        return self.stated.rate

    def earliest(self, at: float, cost: float) -> float:
        """Return the earliest start >= `at` of a call of `cost` units; inf = never.

        Args:
            at: no earlier than any start charged before.
            cost: units; 0 is never held up.
        """
        if cost <= 0:
            return at
        stated = self.stated
        if self.blocked_until > at:
            at = self.blocked_until
        paced = self.clear_at
        if cost < self.burst:
            paced -= (self.burst - cost) / stated.rate
        if paced > at:
            at = paced
        number = int(at / stated.slice_s)
        if number <= self.index and self.total + cost <= stated.limit:
            return at
        return self._when_room(at, number, cost)

    def _when_room(self, at: float, number: int, cost: float) -> float:
        """Return `at`, or the start of the slice in which enough has become free."""
        stated = self.stated
        if cost > stated.limit:
            return math.inf
        excess = self.total + cost - stated.limit
        free_in = self.index - len(self.older) + stated.span
        for taken in (*self.older, self.newest):
            if excess <= 0:
                break
            excess -= taken
            if free_in > number:
                at = free_in * stated.slice_s
            free_in += 1
        return at

    def charge(self, at: float, cost: float) -> Dimension:
        """Return the dimension after a start at `at`, which `earliest` has allowed."""
        if cost <= 0:
            return self
        stated, ratio, clear_at = self.stated, self.ratio, self.clear_at
        if clear_at < at - _LATE_S:
            clear_at = at - _LATE_S
        paced = cost if ratio == 1.0 else cost * ratio * _EAGER
        number = int(at / stated.slice_s)
        if number <= self.index:
            number, older = self.index, self.older
            newest, total = self.newest + cost, self.total + cost
        else:
            older = self._older_at(number)
            newest, total = cost, sum(older) + cost
        return Dimension(
            stated,
            cost if cost > self.burst else self.burst,
            ratio,
            self.blocked_until,
            clear_at + paced / stated.rate,
            number,
            newest,
            total,
            older,
        )

    def charge_at_once(self, at: float, cost: float) -> Dimension | None:
        """Return what `charge` would if `at` is plainly allowed, else None.

        That is so for nearly all calls while the limit does not bind; it spares them
        `earliest`, and with it half the price of a reservation.
        """
        stated, clear_at, total = self.stated, self.clear_at, self.total + cost
        burst = self.burst
        if (
            at >= (self.index + 1) * stated.slice_s
            or total > stated.limit
            or not 0 < cost <= burst
            or self.blocked_until > at
            or (clear_at > at and clear_at - (burst - cost) / stated.rate > at)
        ):
            return None
        ratio = self.ratio
        if clear_at < at - _LATE_S:
            clear_at = at - _LATE_S
        paced = cost if ratio == 1.0 else cost * ratio * _EAGER
        return Dimension(
            stated,
            burst,
            ratio,
            self.blocked_until,
            clear_at + paced / stated.rate,
            self.index,
            self.newest + cost,
            total,
            self.older,
        )

    def _older_at(self, number: int) -> tuple[float, ...]:
        """Return the slices that still count once `number` is the newest."""
        gap = number - self.index
        if gap >= self.stated.span:
            return ()
        older = (*self.older, self.newest, *((0.0,) * (gap - 1)))
        return older[1 - self.stated.span :]

    def correct(self, start_at: float | None, delta: float) -> Dimension:
        """Return the dimension with `delta` units more taken at `start_at`.

        Without `start_at` more is counted in the newest slice, and less not at all: to
        give room back in the wrong slice would break the guarantee.
        """
        return self._corrected(start_at, delta, self.ratio)

    def settle(self, start_at: float | None, reserved: float, used: float) -> Dimension:
        """Return the dimension once it is known what a call really used."""
        if self.stated.accounting == "reserved" or reserved <= 0:
            return self
        error = (used - self.ratio * reserved) / max(self.burst, reserved)
        ratio = min(1.0, max(_LEAST_RATIO, self.ratio + _ALPHA * error))
        return self._corrected(start_at, used - reserved, ratio)

    def _corrected(
        self, start_at: float | None, delta: float, ratio: float
    ) -> Dimension:
        behind = 0
        if start_at is not None:
            behind = self.index - int(start_at / self.stated.slice_s)
        older, newest = self.older, self.newest
        if behind > len(older) or (start_at is None and delta < 0):
            delta = 0.0
        elif behind > 0:
            place = len(older) - behind
            delta = max(-older[place], delta)
            older = (*older[:place], older[place] + delta, *older[place + 1 :])
        else:
            delta = max(-newest, delta)
            newest += delta
        if not delta and ratio == self.ratio:
            return self
        return Dimension(
            self.stated,
            self.burst,
            ratio,
            self.blocked_until,
            self.clear_at,
            self.index,
            newest,
            self.total + delta,
            older,
        )

    def block(self, until: float) -> Dimension:
        """Return the dimension that starts nothing before `until`."""
        if until <= self.blocked_until:
            return self
        return Dimension(
            self.stated,
            self.burst,
            self.ratio,
            until,
            self.clear_at,
            self.index,
            self.newest,
            self.total,
            self.older,
        )

    def count(self, now: float, units: float) -> Dimension:
        """Return the dimension with `units` more taken at `now`, by whomever.

        They are counted, not paced: they have started already.
        """
        number = max(self.index, int(now / self.stated.slice_s))
        older, newest = self.older, self.newest
        if number > self.index:
            older, newest = self._older_at(number), 0.0
        newest += units
        return Dimension(
            self.stated,
            self.burst,
            self.ratio,
            self.blocked_until,
            self.clear_at,
            number,
            newest,
            sum(older) + newest,
            older,
        )

    def taken(self, now: float) -> float:
        """Return the units that still count at `now`."""
        number, span = int(now / self.stated.slice_s), self.stated.span
        if number - self.index >= span:
            return 0.0
        gone = number - span + 1 - self.index + len(self.older)
        return self.total - sum(self.older[:gone]) if gone > 0 else self.total

    def move(self, now: float, new: Stated) -> Dimension:
        """Return the dimension under another limit, with all that was taken.

        The log is kept, so the guarantee holds for the new N at once, also for what
        started before. A window of another length counts it all as taken just now.
        """
        if new == self.stated:
            return self
        ratio = 1.0 if new.accounting == "reserved" else self.ratio
        backlog = max(0.0, self.clear_at - now) * self.stated.rate
        index, newest, older = self.index, self.newest, self.older
        if new.slice_s != self.stated.slice_s:
            newest, older = self.taken(now), ()
            end = max(now, (self.index + 1) * self.stated.slice_s)
            index = int(end / new.slice_s) if newest else _NEVER
        return Dimension(
            new,
            self.burst,
            ratio,
            self.blocked_until,
            now + backlog / new.rate,
            index,
            newest,
            sum(older) + newest,
            older,
        )
