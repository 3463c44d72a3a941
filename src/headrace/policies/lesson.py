"""How the limit of one dimension is learnt: told by headers, or found by refusals.

```
   crest ┤        ......─────┐ refused: x 0.85, and the new crest is here
         │     .·            │
  x 0.85 ┤ ──·               └──·      flat near what was refused last,
         └──────────────────────────   steep away from it
             age (while it is used)
```
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.model import TokenAccounting
from headrace.policies.dimension import Stated, stated

Source = Literal["headers", "refusals"]

CUT = 0.85
"""Share of the limit that is kept after a refusal.

Source: CUBIC (RFC 9438), which keeps 0.7 since queues must drain. The algorithm notes
ask for 0.9 and 1 % more a minute: a hundred clients of one quota then take 5 times as
long as with back-off, for those that are left at the end grow too slowly."""
_MOST_CUT = 0.6
"""Least crest after a refusal, as a share of the limit, when far less was accepted."""
CREST_S = 40.0
"""Seconds of use until a limit is back where it was refused: CUBIC's K, but fixed.

Found by simulation (tests/policies/test_shared_quota.py): 30 s costs more refusals than
a tenth of back-off's, 60 s more time than 1.2 times its."""
_STEP_S = 1.0
_IN_USE = 0.75
"""From this share on the limit is what holds us back, so it may grow."""
_AGREEING = 3
"""Replies in a row that must say a higher limit before it is believed."""
_DOUBTS = 3
"""Windows in which headers spoke of a spent limit that let all our calls pass."""
_SPENT = 0.95
OPEN = 1e15
"""A limit that never binds."""
_SAME = 0.005
"""A limit grows by at least this: moving costs more than less would bring."""


class Setting(msgspec.Struct, frozen=True, gc=False):
    """What holds for all that is learnt of one endpoint."""

    jitter_s: float = 0.2
    """How much later than it started a call may arrive."""
    accounting: TokenAccounting = "reserved"
    """How tokens are settled there."""


class Lesson(msgspec.Struct, frozen=True, gc=False):
    """What is known of one limit per window.

    Invariant: `value` is finite, at least 1, and never above what headers told.
    """

    dimension: str
    window_s: float
    source: Source
    told: float = OPEN
    """N as headers told it last; `OPEN` if they did not."""
    crest: float = OPEN
    """N when it was refused last."""
    age_s: float = CREST_S
    """Time of use since then."""
    seen_at: float = 0.0
    cut_at: float = 0.0
    """Refusals of calls that started before are old news."""
    higher: float = 0.0
    """A limit above `told` that headers speak of,"""
    agreeing: int = 0
    """and how many replies in a row did."""
    doubts: int = 0
    doubted_at: float = 0.0

    @property
    def value(self) -> float:
        """Units that may start in a window."""
        return max(1.0, min(self.told, self._grown()))

    def _grown(self) -> float:
        beyond = (self.age_s - CREST_S) / CREST_S
        return min(OPEN, self.crest * (1.0 + (1.0 - CUT) * beyond**3))

    @property
    def is_believed(self) -> bool:
        """Are headers believed when they say that little remains?"""
        return self.doubts < _DOUBTS

    def stated(
        self, setting: Setting, accounting: TokenAccounting | None = None
    ) -> Stated:
        """Return the limit as a dimension takes it."""
        if self.dimension == "calls":
            accounting = "reserved"
        return stated(
            self.dimension,
            self.value,
            self.window_s,
            setting.jitter_s,
            accounting or setting.accounting,
        )

    def used(self, now: float, share: float) -> Lesson:
        """Return the lesson after a reply while `share` of the limit was in use."""
        elapsed_s = now - self.seen_at
        if elapsed_s < _STEP_S:
            return self
        grown_s = min(elapsed_s, self.window_s) if share >= _IN_USE else 0.0
        if self.told <= self.crest and self.age_s >= CREST_S:
            grown_s = 0.0  # nowhere to grow to
        return self._with(age_s=self.age_s + grown_s, seen_at=now)

    def told_limit(self, limit: float) -> Lesson:
        """Return the lesson after a header told the limit: lower at once, higher late."""
        if limit == self.told:
            return self if not self.agreeing else self._with(agreeing=0)
        if self.source == "headers" and limit > self.told:
            agreeing = self.agreeing + 1 if limit == self.higher else 1
            if agreeing < _AGREEING:
                return self._with(higher=limit, agreeing=agreeing)
        whole = self.value >= self.told or self.source == "refusals"
        crest = limit if whole else min(self.crest, limit)
        age_s = CREST_S if whole else self.age_s
        return self._with(
            source="headers", told=limit, crest=crest, age_s=age_s, agreeing=0
        )

    def told_used(self, now: float, share: float, own_share: float) -> Lesson:
        """Return the lesson after a header told how much of the limit is used.

        Who says for three windows that nothing is left, and refuses none of our calls,
        is not believed until a refusal.
        """
        ours = own_share > 0.5 and self.is_believed
        if share < _SPENT or ours:
            return self if not self.doubts else self._with(doubts=0)
        if not self.is_believed or now < self.doubted_at + self.window_s:
            return self
        return self._with(doubts=self.doubts + 1, doubted_at=now)

    def refused(
        self, now: float, started_at: float, until: float, ours: float
    ) -> Lesson:
        """Return the lesson after a call that started at `started_at` was refused.

        Args:
            now: monotonic seconds.
            started_at: old news if it is before the last cut.
            until: nothing starts before; that time is no time of use.
            ours: units of ours that were accepted in the last window.
        """
        if started_at < self.cut_at:
            return self._with(doubts=0, seen_at=max(until, self.seen_at))
        value = self.value
        if value >= self.crest:
            crest = min(max(ours / CUT, value * _MOST_CUT), value)
        else:
            crest = value * (1.0 + CUT) / 2.0
        crest = max(1.0, crest)
        return self._with(crest=crest, age_s=0.0, cut_at=now, seen_at=until, doubts=0)

    def paused(self, now: float, until: float) -> Lesson:
        """Return a new lesson that a refusal has begun.

        What we sent before fills its first window, and is no time of use.
        """
        return self._with(cut_at=now, seen_at=max(until, now + self.window_s))

    def opened(self) -> Lesson:
        """Return the lesson that binds no more: the window was not what it seemed."""
        return self._with(told=OPEN, crest=OPEN, age_s=CREST_S)

    def differs(self, limit: float) -> bool:
        """Is `limit` above `value`, or so far below that it must be moved?"""
        value = self.value
        if value > limit:
            return value > limit * (1.0 + _SAME) or value >= self.told
        return value < limit

    def _with(self, **changes: float | int | str) -> Lesson:
        return msgspec.structs.replace(self, **changes)
