"""When a slow call is made a second time: after which delay, and how often."""

from __future__ import annotations

import math

import msgspec

from headrace.model import Cost
from headrace.terms import Hedge

_GROWTH = 1.1
"""Each bucket is so many times as wide as the one before: quantiles are right to 5 %."""
_LOG_GROWTH = math.log(_GROWTH)
_LEAST_S = 0.001
_BUCKETS = 176
"""Up to 5 hours; what takes longer counts as that."""
_MEMORY = 1_000
"""When so many durations are counted, all counts are halved: old ones fade."""
_RECKON_EVERY = 8
"""The quantile is reckoned anew after so many durations."""
_MOST_SAVED = 10.0
"""Second calls that may be saved up, so that calm does not pay for a storm."""


class Durations(msgspec.Struct, frozen=True, gc=False):
    """How long calls took lately, and a quantile of it.

    Source: DDSketch (Masson, Rim, Lee 2019), with a fixed number of buckets. We differ:
    counts are halved from time to time, so that a change is followed.
    """

    counts: tuple[int, ...] = (0,) * _BUCKETS
    total: int = 0
    seen: int = 0
    """Durations in all."""
    quantile_s: float = math.inf

    def observe(self, seconds: float, share: float) -> Durations:
        """Count one duration, >= 0; `share` is the quantile that is wanted, 0 to 1."""
        place = math.ceil(math.log(max(seconds, _LEAST_S) / _LEAST_S) / _LOG_GROWTH)
        place = min(place, _BUCKETS - 1)
        counts, total, seen = self.counts, self.total + 1, self.seen + 1
        counts = (*counts[:place], counts[place] + 1, *counts[place + 1 :])
        if total >= _MEMORY:
            counts = tuple(count // 2 for count in counts)
            total = sum(counts)
        quantile_s = self.quantile_s
        if not seen % _RECKON_EVERY or seen == 1:
            quantile_s = _quantile(counts, total, share)
        return Durations(counts, total, seen, quantile_s)


def _quantile(counts: tuple[int, ...], total: int, share: float) -> float:
    """Return the upper edge of the bucket in which the quantile lies."""
    rank, passed = share * total, 0
    for place, count in enumerate(counts):
        passed += count
        if passed >= rank:
            return float(_LEAST_S * _GROWTH**place)
    return float(_LEAST_S * _GROWTH ** (len(counts) - 1))


class HedgeBook(msgspec.Struct, frozen=True, gc=False):
    """What is known of the durations of one kind of call, and what may be spent on it.

    Calls are told apart by the tokens that they may answer with: each class is a power
    of four. A class of which too little is known goes by all calls together.

    Invariant: second calls <= budget x first calls + 10, in any stretch of time.
    Source: Dean & Barroso 2013, "The Tail at Scale"; the budget as a token bucket as in
    Finagle's RetryBudget, with no floor per second.
    """

    rules: Hedge
    overall: Durations = Durations()
    by_size: tuple[tuple[int, Durations], ...] = ()
    saved: float = 0.0
    """Second calls that may be made now."""

    def delay_s(self, cost: Cost) -> float | None:
        """Return after how many seconds a call counts as slow; None = not known yet."""
        rules = self.rules
        found = dict(self.by_size).get(_size(cost))
        if found is None or found.seen < rules.min_samples:
            found = self.overall
        if found.seen < rules.min_samples:
            return None
        return max(rules.min_s, found.quantile_s)

    def started(self) -> HedgeBook:
        """Return the book after a first call: it pays for a share of a second one."""
        saved = min(_MOST_SAVED, self.saved + self.rules.budget)
        if saved == self.saved:
            return self
        return HedgeBook(self.rules, self.overall, self.by_size, saved)

    def spend(self) -> tuple[HedgeBook, bool]:
        """Pay for a second call; return whether there was enough."""
        if self.saved < 1.0:
            return self, False
        after = HedgeBook(self.rules, self.overall, self.by_size, self.saved - 1.0)
        return after, True

    def observe(self, cost: Cost, seconds: float) -> HedgeBook:
        """Learn how long a first call took, or at least took if it was overtaken."""
        size, share = _size(cost), self.rules.quantile
        sizes = dict(self.by_size)
        sizes[size] = sizes.get(size, Durations()).observe(seconds, share)
        overall = self.overall.observe(seconds, share)
        return HedgeBook(self.rules, overall, tuple(sizes.items()), self.saved)


def _size(cost: Cost) -> int:
    """Return the class of a call by its output tokens: 0, 1-3, 4-15, 16-63, …"""
    return min(12, (cost.output_tokens.bit_length() + 1) // 2)


def is_spare(in_flight: int, limit: int) -> bool:
    """May an endpoint take a second call beside those that it must take?

    Only from the last fifth of its slots: where the limit was cut, or is still growing
    because calls need it, that fifth is in use. A share of the ceiling would forbid
    second calls as long as a limit grows.
    """
    return in_flight < 0.8 * limit
