"""Climbs to where the most calls are answered a second: `throughput`.

```
 rests ──after a while──► tries a step more ──10 % more answers──► tries again
   ▲                            └──not so: back, and rests twice as long──┐
   └──────────────────────────────────────────────────────────────────────┘
```

A window is compared with the one before only if both are whole, at full use, and begin
after the calls of an earlier limit have ended. What failed is no throughput, and while
a larger share fails than before nothing climbs.
"""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from headrace.policies.concurrency import Sample, Verdict, check_ceiling

MOST = 10
"""Ceiling where the user states none."""
_CHANGE = 0.1
"""Throughput that changes by less is the same (the rule of docs/design.md)."""
_STEP = 0.25
"""Share of the limit that is added or taken: more than what counts as a change."""
_ROUNDS, _LEAST = 8, 50
"""Ends in a window: for so many rounds, and at least; fewer would measure chance."""
_LONGEST_REST = 16
_MORE_ERRORS = 0.02
"""A share of failures that rises by less is the same."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """A stretch of ends that is counted as one."""

    skip: int
    """Ends still to pass before it begins: calls of an earlier limit."""
    from_at: float = 0.0
    answered: int = 0
    lost: int = 0


class Found(msgspec.Struct, frozen=True, gc=False):
    """What the windows so far have shown; changes once a window."""

    per_s: float = 0.0
    """Answers a second in the last window; 0.0 = none was whole yet."""
    error_share: float = 0.0
    tries: bool = False
    """Is the present limit a try?"""
    before: int = 0
    """Limit before the try."""
    rest: int = 1
    """Windows that a rest lasts."""
    rested: int = 0
    doubted: bool = False
    """Was the last window slow? One alone may be chance."""


class Throughput(msgspec.Struct, frozen=True, gc=False):
    """The limit under which the most calls are answered a second.

    Source: hill climbing; docs/design.md says which rule it repairs.
    """

    learns: ClassVar[bool] = True
    heeds_load: ClassVar[bool] = False
    value: int
    ceiling: int
    window: Window = Window(0)
    found: Found = Found()
    reason: str = ""

    def __post_init__(self) -> None:
        check_ceiling(self.ceiling)

    @property
    def learnt(self) -> int | None:
        """What the next run may start from; of a try, what was before it."""
        if not self.reason:
            return None
        return self.found.before if self.found.tries else self.value

    def observe(self, sample: Sample) -> Throughput:
        """Return the limit after `sample`."""
        verdict = sample.verdict
        if verdict is Verdict.IGNORED:
            return self
        window, now = self.window, sample.started_at + sample.duration_s
        if window.skip or not window.from_at:
            window = Window(max(0, window.skip - 1), now)
            return self._with(window)
        ok = verdict is Verdict.OK
        answered, lost = window.answered + ok, window.lost + (not ok)
        if answered + lost < max(_LEAST, _ROUNDS * self.value):
            return self._with(Window(0, window.from_at, answered, lost))
        if sample.in_flight < self.value or now <= window.from_at:
            return self._with(Window(0, now))
        per_s = answered / (now - window.from_at)
        return self._compared(per_s, lost / (answered + lost), now)

    def note_load(self, now: float, share: float) -> Self:
        """Return itself: it heeds what became of calls only."""
        return self

    def moved(self, ceiling: int) -> Throughput:
        """Return it with another ceiling."""
        value = min(self.value, ceiling)
        return Throughput(value, ceiling, self.window, self.found, self.reason)

    def _with(self, window: Window) -> Throughput:
        return Throughput(self.value, self.ceiling, window, self.found, self.reason)

    def _compared(self, per_s: float, error_share: float, now: float) -> Throughput:
        """Decide after a whole window."""
        found, value = self.found, self.value
        step = max(1, int(_STEP * value))
        fails_more = error_share > found.error_share + _MORE_ERRORS
        if not found.per_s:
            found = Found(per_s, error_share)
            return self._try(step, found) if not error_share else self._rest(now, found)
        rose = per_s > (1 + _CHANGE) * found.per_s
        if found.tries and (fails_more or not rose):
            rest = min(_LONGEST_REST, 2 * found.rest)
            back = Found(found.per_s, found.error_share, rest=rest)
            why = "more failed" if fails_more else "more in flight brought no more"
            return self._go(found.before, back, why)
        fell = per_s < (1 - _CHANGE) * found.per_s
        if fell and not (fails_more or found.doubted):
            doubt = Found(found.per_s, error_share, rest=found.rest, doubted=True)
            return self._rest(now, doubt)
        if fell or fails_more:
            fewer = Found(per_s, error_share, rest=found.rest)
            why = "more failed" if fails_more else "throughput fell"
            return self._go(value - step, fewer, why)
        if found.tries or rose:
            return self._try(step, Found(per_s, error_share))
        rested = found.rested + 1
        per_s = (found.per_s + per_s) / 2
        found = Found(per_s, error_share, rest=found.rest, rested=rested)
        if rested >= found.rest:
            return self._try(step, found)
        return self._rest(now, found)

    def _rest(self, now: float, found: Found) -> Throughput:
        return Throughput(self.value, self.ceiling, Window(0, now), found, self.reason)

    def _try(self, step: int, found: Found) -> Throughput:
        """Allow a step more, and remember from where."""
        tried = Found(
            found.per_s,
            found.error_share,
            tries=True,
            before=self.value,
            rest=found.rest,
        )
        value = min(self.ceiling, self.value + step)
        if value == self.value:
            tried = Found(found.per_s, found.error_share, rest=found.rest)
        return self._go(value, tried, "tries whether more brings more")

    def _go(self, value: int, found: Found, reason: str) -> Throughput:
        value = min(self.ceiling, max(1, value))
        reason = self.reason if value == self.value else reason
        skip = max(value, self.value)
        return Throughput(value, self.ceiling, Window(skip), found, reason)
