"""How many calls and tokens may start: reserved before a call, settled after it."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from headrace.model import Limits
from headrace.policies.dimension import Dimension, Stated, keeping, stated

__all__ = ["Costs", "Dimension", "RateLimit", "build_rate"]

Costs = tuple[float, ...]
"""What one call takes of each dimension, in the order of `RateLimit.dims`."""


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What follows from the stated limits and never moves with a call."""

    window_s: float = 60.0
    settles: bool = False
    """Does settling change anything?"""
    most_tokens: float = math.inf
    """The largest call that could ever start."""


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """All rate limits of one endpoint; a call gets all or waits for all.

    Reservations start in the order in which they are made: a large call is never
    overtaken by smaller ones.
    """

    dims: tuple[Dimension, ...] = ()
    """Empty if nothing is limited; then every operation is nearly free."""
    terms: Terms = Terms()
    blocked_until: float = 0.0
    last_start: float = 0.0
    last_costs: Costs | None = None
    """The last reservation's; while it is known, that one can be undone wholly."""
    dims_before: tuple[Dimension, ...] = ()
    start_before: float = 0.0

    def costs(self, tokens: int) -> Costs:
        """Return what a call of so many tokens takes of each dimension.

        A new tuple each time: it is also the name of the reservation made with it.
        """
        dims, one = self.dims, 1.0  # not a literal: constant tuples are one object
        if len(dims) == 2:
            return (one, float(tokens))
        return tuple([one if d.name == "calls" else float(tokens) for d in dims])

    def fits(self, costs: Costs) -> str | None:
        """Return the dimension whose limit could never hold the cost, or None."""
        for i, dim in enumerate(self.dims):
            if costs[i] > dim.stated.limit:
                return dim.stated.name
        return None

    def earliest(self, now: float, costs: Costs) -> float:
        """Return the earliest start, >= `now`, without reserving; inf = never."""
        at = self.blocked_until if self.blocked_until > now else now
        dims = self.dims
        if not dims:
            return at
        if self.last_start > at:
            at = self.last_start
        at = dims[0].earliest(at, costs[0])
        if len(dims) == 1:
            return at
        if len(dims) == 2:
            return dims[1].earliest(at, costs[1])
        for i, dim in enumerate(dims[1:], 1):
            at = dim.earliest(at, costs[i])
        return at

    def reserve(self, now: float, costs: Costs) -> tuple[RateLimit, float]:
        """Reserve the earliest start, in all dimensions or none.

        Args:
            now: monotonic seconds.
            costs: from `costs`; the same tuple serves to give the reservation back.

        Returns:
            The limit after the reservation, and when the call may start, >= `now`. It
            may start up to J late without harm; the next one is counted from here. A
            cost above its limit (see `fits`) reserves nothing and starts never: inf.

        Invariant: the guarantee of `dimension`; and in any `w` seconds at most
        burst + rate * (w + 0.1) units start.
        Source: GCRA with virtual scheduling (ITU-T I.371 annex A). We differ:
        reservations queue, and a log holds the window where GCRA alone needs
        rate = (N - B) / (W + J), which costs the share of the largest call.
        """
        dims, at = self.dims, now
        charged: tuple[Dimension, ...] | None = None
        if len(dims) == 2 and now >= self.last_start and now >= self.blocked_until:
            # Calls and tokens, and nobody ahead: written out at half of a loop's price.
            first = dims[0].charge_at_once(now, costs[0])
            second = dims[1].charge_at_once(now, costs[1])
            if first is not None and second is not None:
                charged = (first, second)
        if charged is None:
            at = self.earliest(now, costs)
            if not dims or at == math.inf:
                return self, at
            charged = tuple([d.charge(at, costs[i]) for i, d in enumerate(dims)])
        after = RateLimit(
            charged,
            self.terms,
            self.blocked_until,
            at,
            costs,
            dims,
            self.last_start,
        )
        return after, at

    def try_now(self, now: float, costs: Costs) -> RateLimit | None:
        """Reserve a start at `now` if the windows have room, whatever the pace.

        For those who are refused instead of waiting: paced, they would be refused what
        the limit allows. None, and nothing reserved, if there is no room.
        """
        if self.blocked_until > now:
            return None
        for dim, cost in zip(self.dims, costs, strict=True):
            if dim.taken(now) + cost > dim.limit:
                return None
        return self.revised(
            tuple([d.charge(now, costs[i]) for i, d in enumerate(self.dims)])
        )

    def give_back(self, costs: Costs, start_at: float | None = None) -> RateLimit:
        """Return the limit without a reservation whose call was never sent.

        The last reservation (told by the identity of `costs`) leaves no trace. An older
        one leaves the log if `start_at` says when it was to start; without that it
        stays counted: capacity is lost, never exceeded.
        """
        if not self.dims:
            return self
        if costs is self.last_costs:
            return _without_undo(self, self.dims_before, self.start_before)
        if start_at is None:
            return self
        return self._each(lambda dim, i: dim.correct(start_at, -costs[i]))

    def settle(
        self, now: float, reserved: Costs, used: Costs, start_at: float | None = None
    ) -> RateLimit:
        """Return the limit once it is known what a sent call really used.

        Nothing changes where the provider keeps what was reserved. Where it charges
        what was used, the rest is free again at once, if `start_at` (what `reserve`
        returned) says in which slice it was counted; what was used beyond the
        reservation is counted too.
        """
        if not self.terms.settles:
            return self
        if self.last_costs is None or self.last_start > now:
            return self._each(lambda dim, i: dim.settle(start_at, reserved[i], used[i]))
        # Nothing waits for its reservation any more: that halves the work.
        dims = tuple(
            [d.settle(start_at, reserved[i], used[i]) for i, d in enumerate(self.dims)]
        )
        return _without_undo(self, dims, self.last_start)

    def block(self, until: float, dimension: str | None) -> RateLimit:
        """Return the limit that starts nothing before `until`, as the server said.

        Args:
            until: monotonic seconds.
            dimension: which one ran out; all if None or not one of ours.
        """
        if any(dim.name == dimension for dim in self.dims):
            return self._each(
                lambda dim, _: dim.block(until) if dim.name == dimension else dim
            )
        if until <= self.blocked_until:
            return self
        return msgspec.structs.replace(self, blocked_until=until)

    def revised(self, dims: tuple[Dimension, ...]) -> RateLimit:
        """Return the limit with other dimensions; the last reservation is settled."""
        return RateLimit(
            dims,
            _terms(dims, self.terms.window_s),
            self.blocked_until,
            self.last_start,
        )

    def restated(self, now: float, new: RateLimit) -> RateLimit:
        """Return the limit with the numbers of `new`, which has the same dimensions."""
        return self.revised(
            tuple(
                d.move(now, n.stated) for d, n in zip(self.dims, new.dims, strict=True)
            )
        )

    def without_refunds(self, now: float) -> RateLimit:
        """Return the limit that keeps what was reserved, in all dimensions."""
        if not self.terms.settles:
            return self
        return self.revised(tuple([d.move(now, keeping(d.stated)) for d in self.dims]))

    def used(self, now: float) -> tuple[float, ...]:
        """Return the share of each limit in use, 0 to 1, in the order of `dims`."""
        return tuple(min(1.0, dim.taken(now) / dim.limit) for dim in self.dims)

    def headroom(self, now: float) -> float:
        """Return the least share that is left of any limit, 0 to 1."""
        if self.blocked_until > now:
            return 0.0
        least = 1.0
        for dim in self.dims:
            left = 1.0 - dim.taken(now) / dim.stated.limit
            if dim.blocked_until > now:
                return 0.0
            if left < least:
                least = left
        return least if least > 0.0 else 0.0

    def binding(self, now: float, costs: Costs) -> str:
        """Return the dimension that makes `earliest` latest; "" if none does."""
        latest, name = max(now, self.blocked_until), ""
        for i, dim in enumerate(self.dims):
            at = dim.earliest(now, costs[i])
            if at > latest:
                latest, name = at, dim.name
        if not name and self.dims and self.earliest(now, costs) > now:
            return self.dims[0].name
        return name

    def _each(self, change: Callable[[Dimension, int], Dimension]) -> RateLimit:
        """Return the limit with each dimension changed, as it is and as it was."""
        dims = tuple([change(d, i) for i, d in enumerate(self.dims)])
        before = tuple([change(d, i) for i, d in enumerate(self.dims_before)])
        return RateLimit(
            dims,
            self.terms,
            self.blocked_until,
            self.last_start,
            self.last_costs,
            before,
            self.start_before,
        )


def build_rate(limits: Limits, window_s: float = 60.0) -> RateLimit:
    """Return the rate limits that `limits` states, with nothing taken yet."""
    dims = tuple(Dimension(s) for s in _all_stated(limits, window_s))
    return RateLimit(dims, _terms(dims, window_s))


def _terms(dims: tuple[Dimension, ...], window_s: float) -> Terms:
    return Terms(
        window_s,
        any(dim.accounting == "actual" for dim in dims),
        min([d.limit for d in dims if d.name != "calls"], default=math.inf),
    )


def _without_undo(
    limit: RateLimit, dims: tuple[Dimension, ...], last_start: float
) -> RateLimit:
    return RateLimit(dims, limit.terms, limit.blocked_until, last_start)


def _all_stated(limits: Limits, window_s: float) -> list[Stated]:
    """Return what is limited; less than one call a window is one in a longer window."""
    found = []
    if limits.calls_per_minute is not None:
        calls = limits.calls_per_minute * window_s / 60.0
        stretch = max(1.0, 1.0 / calls)
        found.append(
            stated(
                "calls",
                calls * stretch,
                window_s * stretch,
                limits.jitter_s,
                "reserved",
            )
        )
    if limits.tokens_per_minute is not None:
        found.append(
            stated(
                "tokens",
                limits.tokens_per_minute * window_s / 60.0,
                window_s,
                limits.jitter_s,
                limits.token_accounting or "reserved",
            )
        )
    return found
