"""Tells from how long calls take that a server lets them queue instead of refusing.

Durations of calls vary too much to steer by (see docs/design.md), so latency is a guard
only: two cohorts in a row must be slower than the pooled baseline, by more than chance
explains, and then a third at a lower level must be faster.

```
 calm ──slow──► suspects ──slow──► falls ──quick──► the server queues: hold
   ▲               │ quick           └─────slow───► the calls changed: return
   └───────────────┘
```

A cohort is the calls that start after a moment; it is judged when 60 % of them have
ended, by when its median is known and nothing depends on the slow ones.

Source: algorithm notes of this project, 1.6 and 1.7 (cohorts, confirmation, pooled
baseline). We differ: the threshold widens with the spread of durations.
"""

from __future__ import annotations

import math
from enum import IntEnum

import msgspec

from headrace.policies.concurrency import Sample

_SLOWER = math.log(1.5)
"""Medians that differ by less say nothing (algorithm notes, 1.7)."""
_SIGMAS = 3.0
_MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, of a normal variable."""
_QUARTILE = 0.6745
"""Distance of median and quartile of a normal variable, in standard deviations."""
_FINISHED = 0.6
_LEAST, _MOST = 16, 64
"""Calls in a cohort."""
_POOL = 8
"""Cohorts after which the baseline forgets the oldest."""
_LOWER = 0.75
"""Where the third cohort is measured, at most, as a share of the suspected level."""
_STEP = 1.25
"""How far above the last good level a server that queues is tried again."""


class Judgement(IntEnum):
    """What a cohort has shown."""

    NONE = 0
    FALL = 1
    """Two cohorts were slow: go down and look."""
    HOLD = 2
    """There calls were quick: the server queues."""
    RETURN = 3
    """There calls were as slow: it is not the number of calls."""


class Mood(IntEnum):
    """What the next cohort is for."""

    CALM = 0
    SUSPECTS = 1
    LOOKS = 2


class Baseline(msgspec.Struct, frozen=True, gc=False):
    """How long calls take when the server is not full; logarithms of seconds."""

    median: float = 0.0
    spread: float = 0.0
    """Standard deviation of one call."""
    cohorts: int = 0

    def pool(self, median: float, spread: float) -> Baseline:
        """Return the baseline with one more cohort."""
        weight = 1.0 / (min(self.cohorts, _POOL) + 1)
        return Baseline(
            self.median + weight * (median - self.median),
            self.spread + weight * (spread - self.spread),
            self.cohorts + 1,
        )

    def threshold(self, size: int) -> float:
        """Return by how much the median of `size` calls must exceed it."""
        variance = 1.0 / size + 1.0 / (_MOST * min(self.cohorts, _POOL))
        return max(_SLOWER, _SIGMAS * _MEDIAN_ERROR * self.spread * math.sqrt(variance))


class Cohort(msgspec.Struct, frozen=True, gc=False):
    """Calls that start from a moment on, as many as `size`."""

    size: int
    level: int
    """Calls in flight allowed when it began."""
    from_at: float = -math.inf
    first_end: int = 0
    """Ends before it began."""
    until_at: float = math.inf
    """When its last call started; inf while it fills."""
    good: int = 0
    """Calls in flight allowed then."""
    durations: tuple[float, ...] = ()


def _cohort(level: int, now: float, ends: int) -> Cohort:
    return Cohort(min(_MOST, max(_LEAST, level)), level, now, ends)


class LatencyGuard(msgspec.Struct, frozen=True, gc=False):
    """What is known of how long calls take; a frozen value."""

    cohort: Cohort = Cohort(_LEAST, 0)
    baseline: Baseline = Baseline()
    mood: Mood = Mood.CALM
    queues: bool = False
    """Is the server known to let calls queue?"""
    good: int = 0
    """The highest level at which calls were quick, the last time they were looked at."""
    suspect: float = 0.0
    """Median of the second slow cohort, logarithm of seconds."""
    suspect_level: int = 0
    judgement: Judgement = Judgement.NONE
    level: int = 0
    """Where to go, if something was judged."""

    def allows(self, value: int) -> bool:
        """May the limit grow above `value`?"""
        if self.mood is not Mood.CALM:
            return False
        return not self.queues or value < _STEP * self.good + 1

    def observe(self, sample: Sample, value: int, ends: int) -> LatencyGuard:
        """Return the guard after an answered call.

        Args:
            sample: of the call.
            value: calls in flight allowed.
            ends: calls answered so far, this one included.
        """
        cohort = self.cohort
        now = sample.started_at + sample.duration_s
        durations, until_at, good = cohort.durations, cohort.until_at, cohort.good
        if cohort.from_at <= sample.started_at <= until_at:
            durations = (*durations, sample.duration_s)
        if until_at == math.inf:
            # Whoever ends makes room for one that starts, and so does a slot more.
            started = ends - cohort.first_end + value - cohort.level
            if not cohort.first_end:
                started += cohort.level
            if started >= cohort.size:
                until_at, good = now, value
        after = Cohort(
            cohort.size,
            cohort.level,
            cohort.from_at,
            cohort.first_end,
            until_at,
            good,
            durations,
        )
        if until_at < math.inf and len(durations) >= _FINISHED * cohort.size:
            return self._judge(after, value, now, ends)
        if ends - cohort.first_end > 4 * (cohort.size + value):
            after = _cohort(value, now, ends)  # it never filled: too few calls
        return self._with(after)

    def settled(self) -> LatencyGuard:
        """Return the guard once its judgement has been followed."""
        return msgspec.structs.replace(self, judgement=Judgement.NONE)

    def _with(self, cohort: Cohort) -> LatencyGuard:
        return LatencyGuard(
            cohort,
            self.baseline,
            self.mood,
            self.queues,
            self.good,
            self.suspect,
            self.suspect_level,
        )

    def _judge(self, cohort: Cohort, value: int, now: float, ends: int) -> LatencyGuard:
        ordered = sorted(cohort.durations)
        half = min(cohort.size // 2, len(ordered) - 1)
        median = math.log(max(ordered[half], 1e-6))
        quarter = math.log(max(ordered[cohort.size // 4], 1e-6))
        spread = (median - quarter) / _QUARTILE
        fresh = self._with(_cohort(value, now, ends))
        change = msgspec.structs.replace
        known = self.baseline
        if not known.cohorts:
            return change(fresh, baseline=known.pool(median, spread), good=cohort.good)
        is_slow = median - known.median > known.threshold(cohort.size)
        if self.mood is Mood.LOOKS:
            return self._looked(fresh, median, spread, slow=is_slow)
        if not is_slow:
            if not self.queues:
                known = known.pool(median, spread)
            elif median - known.median < -_SLOWER:
                known = Baseline().pool(median, spread)  # the calls became shorter
            return change(fresh, baseline=known, mood=Mood.CALM, good=cohort.good)
        if self.mood is Mood.CALM:
            return change(fresh, mood=Mood.SUSPECTS)
        # By Little's law the slots beyond this only hold calls that queue.
        in_use = value * math.exp(known.median - median)
        level = max(1, int(min(_LOWER * value, max(self.good, in_use))))
        return change(
            fresh,
            cohort=_cohort(level, now, ends),
            mood=Mood.LOOKS,
            suspect=median,
            suspect_level=value,
            judgement=Judgement.FALL,
            level=level,
        )

    def _looked(
        self, fresh: LatencyGuard, median: float, spread: float, *, slow: bool
    ) -> LatencyGuard:
        change = msgspec.structs.replace
        level = fresh.cohort.level
        if not slow:
            return change(
                fresh,
                mood=Mood.CALM,
                queues=True,
                good=level,
                judgement=Judgement.HOLD,
                level=level,
            )
        fell = math.log(level / self.suspect_level)
        if median - self.suspect > 0.5 * fell:
            return change(
                fresh,
                mood=Mood.CALM,
                baseline=Baseline().pool(median, spread),
                judgement=Judgement.RETURN,
                level=self.suspect_level,
            )
        lower = max(1, int(_LOWER * level))
        return change(
            fresh,
            suspect=median,
            suspect_level=level,
            judgement=Judgement.FALL,
            level=lower,
        )
