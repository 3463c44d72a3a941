"""Finds how many calls a server takes at once from what it refuses: `auto`.

```
          a refusal, a cut                 due               no refusal
 growing ─────────────────► holding ───────────► probing ───────────────► growing
 +1 an end                   +-0     one slot more  │                      +1 an end
                                ▲───────────────────┘ refused: hold twice as long
```

A refusal takes back one slot, since it says by how much the limit was too high. An
overload does not, and cuts by 0.7, once an epoch; then the limit *recovers*: by an end
each up to 0.7 of where the overload began, by a round each beyond that. A server that
refuses, and took as many for long, failed for another reason: there it comes back by an
end each. Growth is paid out one slot an end, so it doubles in each call's duration, and
what it overshoots is what starts while the first refusal is on its way.

Source: algorithm notes of this project, 1.7; slow start: Jacobson 1988; epochs: Vegas
and DataDesigner's generation guard. We differ: growth by ends, not by cohorts at once,
refuses a tenth as many calls of a server with a hard cap.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import ClassVar, Self

import msgspec

from headrace.policies.concurrency import Sample, Verdict, check_ceiling
from headrace.policies.latency import Judgement, LatencyGuard

START = 2
"""Measured: docs/design.md, "Calls in flight"."""
KEPT_SHARE = 0.8
"""Of what the last run learnt, a run begins with: the rest is regained within a call's
duration, and a server that has shrunk refuses that much less."""


class Phase(IntEnum):
    """What the limit does now."""

    GROWING = 0
    HOLDING = 1
    PROBING = 2
    RECOVERING = 3


class Rules(msgspec.Struct, frozen=True, gc=False):
    """The constants of the controller."""

    first_hold: int = 4
    """Rounds between a refusal and the first probe."""
    longest_hold: int = 16
    """Doubling ends here: one probe in 16 rounds is refused."""
    least_round: int = 40
    """Ends in a round at least, else small limits would be refused too often."""
    fallen_hold: int = 8
    """Rounds of a hold after the server began to take fewer: it may take more soon."""
    fallen_probes: int = 6
    """So many probes at that pace, then more and more rarely."""
    least_probe: int = 8
    """Ends, at least, after which a slot more counts as accepted."""
    least_hold: int = 320
    """Ends in a hold at least: probing has no more than 0.3 % of calls refused."""
    hasty_below: int = 32
    hasty_more: int = 3
    """Below, each end lets so many in: a start of 2 then costs no time against one of
    8, and a server that takes one call refuses one, not seven."""
    cut: float = 0.7
    calm_rounds: int = 8
    """After so many rounds without a cut an overload is not for the number of calls, if
    the server is one that refuses what is too many."""
    beyond_crest: int = 4
    """So many slots above the last overload it is not there any more."""
    least_losses: int = 2
    loss_share: float = 0.1
    """Fewer losses among the calls of a round are chance, not overload."""


RULES = Rules()


class Course(msgspec.Struct, frozen=True, gc=False):
    """What changes only when the limit turns."""

    ceiling: int
    phase: Phase = Phase.GROWING
    due: int = 0
    """Ends at which holding or probing is over."""
    hold: int = RULES.first_hold
    """Rounds that a hold lasts."""
    patience: int = 0
    """Probes that may fail before the hold is doubled."""
    turned_at: float = -math.inf
    """When the present phase began."""
    cut_at: float = -math.inf
    """When the last epoch of overload began."""
    crest: int = 0
    """Slots when the last overload began."""
    ramp: int = 0
    """Slots up to which it comes back by an end each."""
    cut_to: int = 0
    """Slots that the last cut left."""
    cut_ends: int = 0
    """Ends at the last cut."""
    losses: int = 0
    lost_from: int = 0
    """Ends at which the first of the losses was met."""
    fallen: int = 0
    """Calls refused that started within the present hold."""
    reason: str = ""


class Adaptive(msgspec.Struct, frozen=True, gc=False):
    """The limit that `auto` names; a frozen value, each method returns the next one.

    Invariants: 1 <= value <= ceiling; a refusal takes one slot, never more; at most one
    cut for calls that started after the last; no growth below full use.
    """

    learns: ClassVar[bool] = True
    heeds_load: ClassVar[bool] = False
    value: int
    course: Course
    ends: int = 0
    """Calls that were answered."""
    guard: LatencyGuard | None = None
    """None once the server is known to refuse."""

    @property
    def reason(self) -> str:
        """Why it last moved."""
        return self.course.reason

    @property
    def learnt(self) -> int | None:
        """What the next run may start from; None before it ever moved."""
        return self.value if self.course.reason else None

    def observe(self, sample: Sample) -> Adaptive:
        """Return the limit after `sample`."""
        verdict = sample.verdict
        if verdict is Verdict.OK:
            return self._answered(sample)
        if verdict is Verdict.REFUSED:
            return self._refused(sample)
        if verdict is Verdict.OVERLOADED:
            return self._lost(sample)
        return self

    def note_load(self, now: float, share: float) -> Self:
        """Return itself: it heeds what became of calls only."""
        return self

    def moved(self, ceiling: int) -> Adaptive:
        """Return it with another ceiling."""
        check_ceiling(ceiling)
        course = _turned(self.course, ceiling=ceiling)
        return Adaptive(min(self.value, ceiling), course, self.ends, self.guard)

    # ---- an answer

    def _answered(self, sample: Sample) -> Adaptive:
        course, guard, value = self.course, self.guard, self.value
        ends = self.ends + 1
        if guard is not None:
            guard = guard.observe(sample, value)
            if guard.judgement is not Judgement.NONE:
                return self._judged(guard, sample)
        if sample.in_flight < value or value >= course.ceiling:
            return Adaptive(value, course, ends, guard)
        if course.phase is Phase.GROWING:
            return self._grown(ends, guard)
        if course.phase is Phase.RECOVERING:
            return self._recovered(ends, guard)
        if ends >= course.due:
            return self._due(sample, ends, guard)
        return Adaptive(value, course, ends, guard)

    def _grown(self, ends: int, guard: LatencyGuard | None) -> Adaptive:
        """Let one more in, or three."""
        course, value = self.course, self.value
        if guard is not None and not guard.allows(value):
            return Adaptive(value, course, ends, guard)
        more = RULES.hasty_more if value < RULES.hasty_below else 1
        if not course.reason:
            course = _turned(course, reason="all slots were used")
        return Adaptive(min(value + more, course.ceiling), course, ends, guard)

    def _recovered(self, ends: int, guard: LatencyGuard | None) -> Adaptive:
        """Go up after an overload: quickly at first, then with care."""
        course, value = self.course, self.value
        if guard is not None and not guard.allows(value):
            return Adaptive(value, course, ends, guard)
        if value < course.ramp:
            return Adaptive(value + 1, course, ends, guard)
        if ends < course.due:
            return Adaptive(value, course, ends, guard)
        if value < course.crest + RULES.beyond_crest:
            course = _turned(course, due=ends + value, reason="recovers from overload")
        else:
            course = _turned(course, phase=Phase.GROWING, reason="has recovered")
        return Adaptive(value + 1, course, ends, guard)

    def _due(self, sample: Sample, ends: int, guard: LatencyGuard | None) -> Adaptive:
        """Go on to the next phase: hold, then probe, then grow."""
        course, value = self.course, self.value
        now = sample.started_at + sample.duration_s
        if course.phase is Phase.HOLDING:
            if guard is not None and not guard.allows(value):
                return Adaptive(value, course, ends, guard)
            course = _turned(
                course,
                phase=Phase.PROBING,
                due=ends + max(RULES.least_probe, value),
                turned_at=now,
                reason="tries one slot more",
            )
            return Adaptive(value + 1, course, ends, guard)
        if sample.started_at >= course.turned_at:
            course = _turned(
                course,
                phase=Phase.GROWING,
                hold=RULES.first_hold if guard is None else course.hold,
                patience=0,
                reason="one slot more was accepted",
            )
        return Adaptive(value, course, ends, guard)

    def _judged(self, guard: LatencyGuard, sample: Sample) -> Adaptive:
        """Do what the latency says: go down, or back to where it was."""
        course = self.course
        now = sample.started_at + sample.duration_s
        value = max(1, min(guard.level, course.ceiling))
        if guard.judgement is Judgement.RETURN:
            course = _turned(
                course,
                phase=Phase.GROWING,
                hold=RULES.first_hold,
                reason="calls take longer at any number",
            )
        elif guard.judgement is Judgement.LOOK:
            course = self._held(now, course.hold, "calls take longer: looks at fewer")
        else:
            hold = min(RULES.longest_hold, 2 * course.hold)
            course = self._held(now, hold, "more calls only take longer")
        return Adaptive(value, course, self.ends + 1, guard)

    # ---- a loss

    def _refused(self, sample: Sample) -> Adaptive:
        course = self.course
        now = sample.started_at + sample.duration_s
        reason = f"refused at {sample.in_flight}"
        if course.phase is Phase.HOLDING:
            course = self._fell(sample, reason)
        elif course.phase is not Phase.PROBING or course.patience:
            course = self._held(now, course.hold, reason)
            course = _turned(course, patience=max(0, course.patience - 1))
        else:
            hold = min(RULES.longest_hold, 2 * course.hold)
            course = self._held(now, hold, reason)
        return Adaptive(max(1, self.value - 1), course, self.ends, None)

    def _fell(self, sample: Sample, reason: str) -> Course:
        """Return the hold that goes on, as the server takes fewer than it did."""
        course = self.course
        if sample.started_at <= course.turned_at:  # it was on its way already
            return _turned(course, reason=reason)
        hold, patience, fallen = course.hold, course.patience, course.fallen + 1
        if fallen >= max(3, self.value // 4):
            hold, patience = RULES.fallen_hold, RULES.fallen_probes
        due = self.ends + self._hold_ends(hold)
        return _turned(
            course, hold=hold, patience=patience, fallen=fallen, due=due, reason=reason
        )

    def _held(self, now: float, hold: int, reason: str) -> Course:
        """Return the course of a hold that begins now."""
        return _turned(
            self.course,
            phase=Phase.HOLDING,
            hold=hold,
            due=self.ends + self._hold_ends(hold),
            turned_at=now,
            fallen=0,
            reason=reason,
        )

    def _hold_ends(self, hold: int) -> int:
        return max(RULES.least_hold, hold * max(RULES.least_round, self.value))

    def _lost(self, sample: Sample) -> Adaptive:
        course, value, ends = self.course, self.value, self.ends
        if sample.started_at < course.cut_at:
            return self
        if ends - course.lost_from > max(RULES.least_round, value):
            losses, lost_from = 1, ends
        else:
            losses, lost_from = course.losses + 1, course.lost_from
        enough = max(RULES.least_losses, math.ceil(RULES.loss_share * value))
        if losses < enough:
            course = _turned(course, losses=losses, lost_from=lost_from)
            return Adaptive(value, course, ends, self.guard)
        now = sample.started_at + sample.duration_s
        # Of an overload that goes on, all cuts but the first say nothing of the level;
        # one that comes back at the end of the ramp says that the ramp was too long.
        since, cut_to = ends - course.cut_ends, max(1, int(RULES.cut * value))
        crest, ramp = course.crest, course.ramp
        if since >= value or value >= max(ramp, course.cut_to + 1):
            crest, ramp = value, cut_to
            if self.guard is None and since >= RULES.calm_rounds * value:
                ramp = value
        course = _turned(
            course,
            phase=Phase.RECOVERING,
            due=ends + value,
            turned_at=now,
            cut_at=now,
            cut_to=cut_to,
            cut_ends=ends,
            crest=crest,
            ramp=ramp,
            losses=0,
            lost_from=ends,
            fallen=0,
            reason=f"{losses} calls overloaded it",
        )
        return Adaptive(cut_to, course, ends, self.guard)


_turned = msgspec.structs.replace
"""Return a course with some of its fields changed: rare enough to be written so."""


def adaptive(ceiling: int, learnt: int | None = None) -> Adaptive:
    """Return the limit at its start.

    Args:
        ceiling: it never goes above, >= 1.
        learnt: where the last run ended, >= 1; None = nothing is known.

    Raises:
        ValueError: the ceiling is less than 1.
    """
    check_ceiling(ceiling)
    start = START if learnt is None else max(1, int(KEPT_SHARE * learnt))
    return Adaptive(min(start, ceiling), Course(ceiling), guard=LatencyGuard())
