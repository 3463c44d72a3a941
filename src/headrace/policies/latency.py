"""Tells from how long calls take that a server lets them queue instead of refusing.

Durations of calls vary too much to steer by (docs/design.md says what came of it), so
latency is a guard only. Two cohorts in a row must be slower than the pooled baseline,
by more than chance explains, and at half the level a third must be quick again.

```
 calm ──slow──► suspects ──slow──► looks ──quick──► it queues: hold what it needs
   ▲               │ quick           └─────slow───► the calls changed: return
   └───────────────┘
```

A cohort is the calls that start after a moment. It is judged when 60 % of them have
been answered: by then its median is known, and the slow ones are not waited for.

Source: algorithm notes of this project, 1.6 and 1.7 (cohorts, confirmation, pooled
baseline). We differ: the threshold widens with the spread of durations, and the level
to go back to comes from Little's law.
"""

from __future__ import annotations

import math
from enum import IntEnum

import msgspec

from headrace.policies.concurrency import Sample

_SLOWER = math.log(1.5)
"""Medians that differ by less say nothing (algorithm notes, 1.7)."""
_SLOWER_QUEUE = math.log(1.25)
"""The same once the server is known to queue: then it is no surprise any more."""
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
_LOOK = 0.5
"""Where the third cohort is measured, as a share of the suspected level, at most."""
_STEP = 1.125
"""How far above the last good level a server that queues is tried again."""


class Judgement(IntEnum):
    """What a cohort has shown."""

    NONE = 0
    LOOK = 1
    """Two cohorts were slow: go down and look."""
    HOLD = 2
    """The server queues: hold as many calls as it works on."""
    RETURN = 3
    """Calls are slow at any level: go back to where it was."""


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

    def threshold(self, size: int, least: float) -> float:
        """Return by how much the median of `size` calls must exceed it."""
        variance = 1.0 / size + 1.0 / (_LEAST * min(self.cohorts, _POOL))
        error = _MEDIAN_ERROR * self.spread * math.sqrt(variance)
        return max(least, _SIGMAS * error)


class Cohort(msgspec.Struct, frozen=True, gc=False):
    """The calls number `first` to `first + size - 1` of an endpoint."""

    first: int
    size: int
    level: int
    """Calls in flight allowed when it began."""
    durations: tuple[float, ...] = ()
    """Of those that were answered, in the order of their ends."""


class Knowledge(msgspec.Struct, frozen=True, gc=False):
    """What changes only when a cohort is judged."""

    baseline: Baseline = Baseline()
    mood: Mood = Mood.CALM
    queues: bool = False
    """Is the server known to let calls queue?"""
    fell: bool = False
    """Is this the first cohort since the limit fell?"""
    good: int = 0
    """Level at which the last quick cohort began."""
    back: int = 0
    """Level to hold if the server turns out to queue."""
    suspect: float = 0.0
    """Median of the second slow cohort, logarithm of seconds."""
    suspect_level: int = 0


_learnt = msgspec.structs.replace
"""Return knowledge with some of its fields changed: once a cohort."""


class LatencyGuard(msgspec.Struct, frozen=True, gc=False):
    """What is known of how long calls take; a frozen value."""

    cohort: Cohort = Cohort(1, _LEAST, 1)
    known: Knowledge = Knowledge()
    judgement: Judgement = Judgement.NONE
    """Of the last sample."""
    level: int = 0
    """Where to go, if something was judged."""

    def allows(self, value: int) -> bool:
        """May the limit grow above `value`?"""
        known = self.known
        if known.mood is not Mood.CALM:
            return False
        return not known.queues or value < _STEP * known.good + 1

    def observe(self, sample: Sample, value: int) -> LatencyGuard:
        """Return the guard after an answered call.

        Args:
            sample: of the call.
            value: calls in flight allowed.
        """
        cohort = self.cohort
        offset = sample.number - cohort.first
        if not 0 <= offset < cohort.size:
            if offset > 4 * (cohort.size + value):
                # Most of its calls failed: it will never be judged.
                return LatencyGuard(_cohort(sample, value), self.known)
            if self.judgement is Judgement.NONE:
                return self
            return LatencyGuard(cohort, self.known)
        durations = (*cohort.durations, sample.duration_s)
        cohort = Cohort(cohort.first, cohort.size, cohort.level, durations)
        if len(durations) < _FINISHED * cohort.size:
            return LatencyGuard(cohort, self.known)
        return self._judge(cohort, sample, value)

    def _judge(self, cohort: Cohort, sample: Sample, value: int) -> LatencyGuard:
        ordered = sorted(cohort.durations)
        median = math.log(max(ordered[cohort.size // 2], 1e-6))
        quarter = math.log(max(ordered[cohort.size // 4], 1e-6))
        spread = (median - quarter) / _QUARTILE
        known = self.known
        base = known.baseline
        if not base.cohorts:
            known = _learnt(
                known, baseline=base.pool(median, spread), good=cohort.level
            )
            return LatencyGuard(_cohort(sample, value), known)
        least = _SLOWER_QUEUE if known.queues else _SLOWER
        slow = median - base.median > base.threshold(cohort.size, least)
        if known.mood is Mood.LOOKS:
            return _looked(known, sample, (median, spread, cohort.level), slow=slow)
        if not slow:
            known = _quick(known, median, spread, cohort.level)
            return LatencyGuard(_cohort(sample, value), known)
        if known.mood is Mood.CALM:
            known = _learnt(known, mood=Mood.SUSPECTS)
            return LatencyGuard(_cohort(sample, value), known)
        return _fall(known, sample, median, value)


def _cohort(sample: Sample, level: int) -> Cohort:
    """Return the cohort of the calls that start from now on."""
    return Cohort(sample.started + 1, min(_MOST, max(_LEAST, level)), level)


def _quick(known: Knowledge, median: float, spread: float, level: int) -> Knowledge:
    base = known.baseline
    if not known.queues:
        base = base.pool(median, spread)
    elif median - base.median < -_SLOWER:
        base = Baseline().pool(median, spread)  # the calls became shorter
    return _learnt(known, baseline=base, mood=Mood.CALM, good=level, fell=False)


def _fall(known: Knowledge, sample: Sample, median: float, value: int) -> LatencyGuard:
    """Two cohorts were slow: go down, to look or, where it is known, to hold."""
    # By Little's law the slots beyond this only hold calls that queue.
    worked_on = int(value * math.exp(known.baseline.median - median))
    back = max(1, min(value - 1, max(worked_on, known.good)))
    if known.queues and not known.fell:
        known = _learnt(known, mood=Mood.CALM, fell=True, good=back)
        return LatencyGuard(_cohort(sample, back), known, Judgement.HOLD, back)
    level = max(1, min(back, int(_LOOK * value)))
    known = _learnt(
        known,
        mood=Mood.LOOKS,
        fell=True,
        back=back,
        suspect=median,
        suspect_level=value,
    )
    return LatencyGuard(_cohort(sample, level), known, Judgement.LOOK, level)


def _looked(
    known: Knowledge,
    sample: Sample,
    found: tuple[float, float, int],
    *,
    slow: bool,
) -> LatencyGuard:
    """Say what the third cohort has shown, by its median, spread and level."""
    median, spread, level = found
    if not slow:
        back = known.back
        known = _learnt(known, mood=Mood.CALM, queues=True, good=back)
        return LatencyGuard(_cohort(sample, back), known, Judgement.HOLD, back)
    expected = math.log(level / known.suspect_level)
    if median - known.suspect < 0.5 * expected and level > 1:
        lower = max(1, int(_LOOK * level))  # quicker, but still queueing
        known = _learnt(known, suspect=median, suspect_level=level, back=level)
        return LatencyGuard(_cohort(sample, lower), known, Judgement.LOOK, lower)
    back = known.suspect_level
    base = Baseline().pool(median, spread)
    known = _learnt(known, mood=Mood.CALM, baseline=base, fell=False, good=back)
    return LatencyGuard(_cohort(sample, back), known, Judgement.RETURN, back)
