"""What has been learnt of the rates of one model at one endpoint.

Each call we start is counted here as under a stated limit. Headers say how much the
server has counted; what is more than ours was taken by others, and is counted too. So
the log mirrors the server's, whoever shares the quota. A refusal blocks its dimension
for as long as the server says, and lowers its limit.

Nothing learnt stops calls for ever: what headers say holds for one window, what a
refusal says for an hour, and a call larger than a learnt limit takes all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from headrace.events import LearntRate
from headrace.model import NO_COST, Cost, Quota, Usage
from headrace.policies.dimension import Dimension
from headrace.policies.lesson import OPEN, Lesson, Setting
from headrace.policies.rate import Costs, RateLimit

MOST_BLOCK_S = 3_600.0
"""No refusal holds calls longer; then one is tried again."""
MINUTE_S = 60.0
_LONGEST_S = 66.0
"""A minute's limit is free again by then, however the server counts; what takes longer
is the limit of a day (Groq calls it by the same name)."""
MOST_LIMIT = 1e12
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LEAST_CALLS = 10.0
"""A first guess is not lower: few calls before a refusal tell of others' use, or of an
earlier process, not of the limit."""
_WHOLE = 1.0 - 1e-9
"""A call that takes a whole limit must not fail on the rounding of sums."""
_PART = 0.9
"""Refused for tokens below this share of our own count, the server gave nothing back."""


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What we started within the last minute, what is in flight included."""

    calls: float = 0.0
    tokens: float = 0.0


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """One call that was refused for its rate."""

    started_at: float
    cost: Cost = NO_COST
    dimension: str | None = None
    """Which limit it met; None if it was not said: then the pace of calls is learnt."""
    wait_s: float | None = None
    """How long to wait, if it was said."""
    limit: float | None = None
    """N a minute, if it was said."""


class ModelRates(msgspec.Struct, frozen=True, gc=False):
    """Learnt limits of one model at one endpoint, and what was taken of them.

    Invariants: limits are finite and at least one unit a window; dimensions are only
    added, so a reservation of before stays good.
    """

    rate: RateLimit = RateLimit()
    lessons: tuple[Lesson, ...] = ()
    """Of each dimension of `rate`, in its order."""
    long: tuple[str, ...] = ()
    """Dimensions whose headers speak of longer than a minute."""
    streak: int = 0
    """Refusals in a row that did not say how long to wait."""

    # ---- reserving

    def costs(self, cost: Cost) -> Costs:
        """Return what a call takes of each dimension; never more than there is."""
        return tuple(
            [
                min(_units(dim.stated.name, cost), dim.stated.limit * _WHOLE)
                for dim in self.rate.dims
            ]
        )

    def with_rate(self, rate: RateLimit) -> ModelRates:
        """Return these with something reserved or given back."""
        if rate is self.rate:
            return self
        return ModelRates(rate, self.lessons, self.long, self.streak)

    def give_back(self, costs: Costs, start_at: float) -> ModelRates:
        """Return these without a reservation whose call was never sent."""
        return self.with_rate(self.rate.give_back(self._padded(costs), start_at))

    def settle(
        self, now: float, costs: Costs, usage: Usage, start_at: float
    ) -> ModelRates:
        """Return these once it is known what a call used."""
        if not self.rate.terms.settles or not costs:
            return self
        spent = Cost(usage.input_tokens, usage.output_tokens)
        used = tuple(
            [
                _units(dim.name, spent) if i < len(costs) else 0.0
                for i, dim in enumerate(self.rate.dims)
            ]
        )
        return self.with_rate(
            self.rate.settle(now, self._padded(costs), used, start_at)
        )

    def _padded(self, costs: Costs) -> Costs:
        """Return the costs with nothing taken of dimensions learnt meanwhile."""
        missing = len(self.rate.dims) - len(costs)
        return (*costs, *((0.0,) * missing)) if missing else costs

    def blocked_until(self) -> float:
        """Return until when the server wants nothing of what it refused last."""
        until = self.rate.blocked_until
        return max([until, *[dim.blocked_until for dim in self.rate.dims]])

    # ---- learning

    def observe(
        self, now: float, quotas: Sequence[Quota], sent: Sent, setting: Setting
    ) -> ModelRates:
        """Return these after a call was answered.

        Args:
            now: monotonic seconds.
            quotas: what the answer's headers say; any numbers, also wrong ones.
            sent: by us within the last minute, for a limit that was not known before.
            setting: of the endpoint.
        """
        rates = self
        if self.streak:
            rates = ModelRates(self.rate, self.lessons, self.long)
        for quota in quotas:
            rates = rates._heard(now, quota, sent, setting)
        return rates._grown(now, setting)  # noqa: SLF001  our own next version

    def _heard(
        self, now: float, quota: Quota, sent: Sent, setting: Setting
    ) -> ModelRates:
        if not 1.0 <= quota.window_s <= MINUTE_S or quota.dimension in self.long:
            return self._spent(now, quota)
        place = self._place(quota.dimension, quota.window_s)
        if _is_more(quota.reset_s, _LONGEST_S):
            rates = self._lengthened(quota.dimension, place, setting, now)
            return rates._spent(now, quota)  # noqa: SLF001  our own next version
        limit = sane(quota.limit)
        if limit is None:
            return self._spent(now, quota)
        used = _used(limit, quota.remaining)
        if place is None:
            ours = min(limit, sent.calls if quota.dimension == "calls" else sent.tokens)
            lesson = Lesson(
                quota.dimension, quota.window_s, "headers", limit, limit, seen_at=now
            )
            return self.begun(now, lesson, max(ours, used or 0.0), setting)
        lesson, dim = self.lessons[place].told_limit(limit), self.rate.dims[place]
        if used is not None:
            taken = dim.taken(now)
            lesson = lesson.told_used(now, used / limit, taken / limit)
            if used > taken and lesson.is_believed:
                dim = dim.count(now, used - taken)
        return self._set(place, lesson, dim)

    def _spent(self, now: float, quota: Quota) -> ModelRates:
        """Wait if nothing is left of a limit that we do not count ourselves."""
        if quota.remaining != 0 or not _is_more(quota.reset_s, 0.0):
            return self
        wait_s = min(quota.reset_s or 0.0, MINUTE_S)
        return self.with_rate(self.rate.block(now + wait_s, None))

    def _lengthened(
        self, dimension: str, place: int | None, setting: Setting, now: float
    ) -> ModelRates:
        rates = ModelRates(
            self.rate, self.lessons, (*self.long, dimension), self.streak
        )
        if place is None:
            return rates
        return rates._moved(now, place, self.lessons[place].opened(), setting)

    def refused(
        self, now: float, refusal: Refusal, u: float, sent: Sent, setting: Setting
    ) -> ModelRates:
        """Return these after a call was refused for its rate.

        Args:
            now: monotonic seconds.
            refusal: what the server said.
            u: uniform in [0, 1); spreads those who wait for the same moment.
            sent: by us within the last minute; what was accepted of it is the first
                guess at a limit that nobody told.
            setting: of the endpoint.
        """
        streak = self.streak + 1 if refusal.wait_s is None else 0
        until = now + _pause_s(refusal.wait_s, streak) * (1.0 + 0.1 * u)
        rates = ModelRates(self.rate, self.lessons, self.long, streak)
        if not _is_more(refusal.wait_s, 2.0 * MINUTE_S):  # else a day's: no pace helps
            rates = rates._lowered(now, until, refusal, sent, setting)
        if refusal.dimension is None:  # whoever asks pauses the whole model
            return rates
        return rates.with_rate(rates.rate.block(until, refusal.dimension))

    def _lowered(
        self, now: float, until: float, refusal: Refusal, sent: Sent, setting: Setting
    ) -> ModelRates:
        dimension = refusal.dimension or "calls"
        limit = None if dimension in self.long else sane(refusal.limit)
        ours = sent.calls if dimension == "calls" else sent.tokens
        place = self._place(dimension, MINUTE_S)
        if place is None:
            lesson = _guess(refusal, dimension, limit, ours)
            lesson = lesson.paused(now, until)
            return self.begun(now, lesson, ours, setting)
        lesson = self.lessons[place]
        if limit is not None:
            lesson = lesson.told_limit(limit)
        elif lesson.value > MOST_LIMIT:
            lesson = _guess(refusal, dimension, None, ours).paused(now, until)
        lesson = lesson.refused(now, refusal.started_at, until, ours)
        return self._moved(now, place, lesson, setting)

    # ---- parts

    def _place(self, dimension: str, window_s: float) -> int | None:
        for i, lesson in enumerate(self.lessons):
            if lesson.dimension == dimension and lesson.window_s == window_s:
                return i
        return None

    def begun(
        self, now: float, lesson: Lesson, taken: float, setting: Setting
    ) -> ModelRates:
        """Return these with a further limit, of which `taken` units are used."""
        dim = Dimension(lesson.stated(setting))
        if taken > 0:
            dim = dim.count(now, min(taken, lesson.value))
        return ModelRates(
            self.rate.revised((*self.rate.dims, dim)),
            (*self.lessons, lesson),
            self.long,
            self.streak,
        )

    def _grown(self, now: float, setting: Setting) -> ModelRates:
        rates = self
        for place, lesson in enumerate(self.lessons):
            dim = rates.rate.dims[place]
            full = dim.taken(now) + dim.burst  # few large calls fill it too
            used = lesson.used(now, full / dim.stated.limit)
            if used is not lesson or used.differs(dim.stated.limit):
                rates = rates._moved(now, place, used, setting)
        return rates

    def _moved(
        self, now: float, place: int, lesson: Lesson, setting: Setting
    ) -> ModelRates:
        dim = self.rate.dims[place]
        if lesson.differs(dim.stated.limit):
            dim = dim.move(now, lesson.stated(setting, dim.accounting))
        return self._set(place, lesson, dim)

    def _set(self, place: int, lesson: Lesson, dim: Dimension) -> ModelRates:
        dims, lessons, rate = self.rate.dims, self.lessons, self.rate
        if dim is not dims[place]:
            rate = rate.revised((*dims[:place], dim, *dims[place + 1 :]))
        if lesson is not lessons[place]:
            lessons = (*lessons[:place], lesson, *lessons[place + 1 :])
        elif rate is self.rate:
            return self
        return ModelRates(rate, lessons, self.long, self.streak)

    # ---- to be shown

    def binding(self, now: float, cost: Cost) -> str:
        """Return the dimension that makes a call wait; "" if none does."""
        if self.rate.blocked_until > now:
            return "calls"
        return self.rate.binding(now, self.costs(cost))

    def views(self, model: str, now: float) -> list[LearntRate]:
        """Return each learnt limit as people are shown it."""
        return [
            LearntRate(
                model,
                lesson.dimension,
                lesson.value * MINUTE_S / lesson.window_s,
                min(1.0, dim.taken(now) / dim.limit),
                max(0.0, dim.blocked_until - now, self.rate.blocked_until - now),
                lesson.source,
            )
            for lesson, dim in zip(self.lessons, self.rate.dims, strict=True)
            if lesson.value < MOST_LIMIT
        ]


def start_of(
    stated: RateLimit, costs: Costs, learnt: ModelRates, own: Costs, now: float
) -> float:
    """Return the earliest start that stated and learnt limits allow.

    Each of them allows any later start than the earliest it names.
    """
    return learnt.rate.earliest(stated.earliest(now, costs), own)


def gives_nothing_back(rate: RateLimit, now: float, dimension: str) -> bool:
    """Does a refusal for tokens show that the server keeps what was reserved?

    Source: algorithm notes of this project, 2.5, "Settlement".
    """
    if not rate.terms.settles or dimension == "calls":
        return False
    return any(
        dim.name == dimension and dim.taken(now) < _PART * dim.limit
        for dim in rate.dims
    )


def _units(dimension: str, cost: Cost) -> float:
    if dimension == "calls":
        return 1.0
    if dimension == "input_tokens":
        return float(cost.input_tokens)
    if dimension == "output_tokens":
        return float(cost.output_tokens)
    return float(cost.tokens)


def _guess(
    refusal: Refusal, dimension: str, limit: float | None, ours: float
) -> Lesson:
    """Return the first lesson: the limit if it is told, else what was accepted."""
    if limit is not None:
        return Lesson(dimension, MINUTE_S, "headers", limit, limit)
    least = _LEAST_CALLS * max(1.0, _units(dimension, refusal.cost))
    return Lesson(dimension, MINUTE_S, "refusals", OPEN, max(least, ours))


def _pause_s(wait_s: float | None, streak: int) -> float:
    """Return how long a refusal holds; without the server's word it doubles."""
    if wait_s is not None and wait_s >= 0:
        return min(wait_s, MOST_BLOCK_S)
    return (
        min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(max(streak, 1) - 1, 10)) / 2
    )


def sane(limit: float | None) -> float | None:
    """Return a limit that can be one; None for zero, NaN and the absurd."""
    return limit if limit is not None and 0 < limit < MOST_LIMIT else None


def _used(limit: float, remaining: float | None) -> float | None:
    if remaining is None or not 0 <= remaining <= limit:
        return None
    return limit - remaining


def _is_more(value: float | None, than: float) -> bool:
    return value is not None and value > than and math.isfinite(value)
