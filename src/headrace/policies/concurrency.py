"""How many calls may be in flight at once, learnt from what became of them."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import ClassVar, Protocol, Self

import msgspec


class Verdict(StrEnum):
    """What one call says of the number of calls in flight.

    Source: Netflix concurrency-limits, `Limiter.Listener` (success, ignore, dropped).
    We differ: a refusal says exactly how many were too many, a timeout does not.
    """

    OK = "ok"
    IGNORED = "ignored"
    """It says nothing: cancelled, refused for its own sake, or throttled by rate."""
    REFUSED = "refused"
    """The server counted its calls in flight, and this one was one too many."""
    OVERLOADED = "overloaded"
    """Too many were in flight, nobody knows how many: overload, timeout, broken off."""


class Sample(msgspec.Struct, frozen=True, gc=False):
    """What became of one call."""

    started_at: float
    """Monotonic seconds."""
    duration_s: float
    in_flight: int
    """Calls in flight when it ended, itself included."""
    verdict: Verdict
    number: int = 0
    """Which call of this endpoint it was, by when it started, from 1."""
    started: int = 0
    """How many had started when it ended."""


class InFlightLimit(Protocol):
    """An estimate of how many calls may be in flight; a frozen value.

    Invariants: 1 <= value <= its ceiling; it never grows while fewer calls are in flight
    than it allows; a sample that is ignored changes nothing.
    """

    @property
    def value(self) -> int:
        """Calls that may be in flight now, >= 1."""
        ...

    @property
    def learns(self) -> bool:
        """Can a sample change anything? If not, none need be made."""
        ...

    @property
    def heeds_load(self) -> bool:
        """Does it want to be told how busy this machine is?"""
        ...

    @property
    def reason(self) -> str:
        """Why it last moved, in a few words for people; "" if it never did."""
        ...

    @property
    def learnt(self) -> int | None:
        """What the next run may start from; None if nothing was learnt."""
        ...

    def observe(self, sample: Sample) -> Self:
        """Return the estimate after `sample`; itself if nothing changed."""
        ...

    def note_load(self, now: float, share: float) -> Self:
        """Return the estimate once `share` (0 to 1) of this machine's CPUs is busy."""
        ...

    def moved(self, ceiling: int) -> Self:
        """Return it with another ceiling, all that was learnt kept.

        Raises:
            ValueError: less than 1.
        """
        ...


class Fixed(msgspec.Struct, frozen=True, gc=False):
    """The number the user stated."""

    learns: ClassVar[bool] = False
    heeds_load: ClassVar[bool] = False
    reason: ClassVar[str] = ""
    learnt: ClassVar[int | None] = None
    value: int

    def __post_init__(self) -> None:
        check_ceiling(self.value, "value")

    def observe(self, sample: Sample) -> Self:
        """Return itself: a stated number is not learnt."""
        return self

    def note_load(self, now: float, share: float) -> Self:
        """Return itself: a stated number holds whatever the load."""
        return self

    def moved(self, ceiling: int) -> Self:
        """Return the number the user states now."""
        return type(self)(ceiling)


class Aimd(msgspec.Struct, frozen=True, gc=False):
    """Doubles until the first loss; then adds one a round, and cuts at a loss.

    A round is as many ends as calls are allowed. Losses of calls that started before
    the last cut change nothing: they say what that cut has already answered.

    Source: Chiu & Jain 1989 (additive increase, multiplicative decrease); Jacobson
    1988 (slow start). We differ: x0.75, as a call is dearer than a packet.
    """

    learns: ClassVar[bool] = True
    heeds_load: ClassVar[bool] = False
    value: int
    ceiling: int
    credit: int = 0
    """Ends since the last change, at full use."""
    cut_at: float = -math.inf
    """When it was last cut; -inf = never."""
    reason: str = ""

    def __post_init__(self) -> None:
        check_ceiling(self.ceiling)

    @property
    def learnt(self) -> int | None:
        """What the next run may start from."""
        return self.value if self.reason else None

    def observe(self, sample: Sample) -> Aimd:
        """Return the limit after `sample`."""
        verdict = sample.verdict
        if verdict is Verdict.IGNORED:
            return self
        if verdict is not Verdict.OK:
            return self._lost(sample)
        value = self.value
        if sample.in_flight < value or value >= self.ceiling:
            return self
        credit = self.credit + 1
        if self.cut_at > -math.inf and credit < value:
            return Aimd(value, self.ceiling, credit, self.cut_at, self.reason)
        return Aimd(value + 1, self.ceiling, 0, self.cut_at, "all slots were used")

    def _lost(self, sample: Sample) -> Aimd:
        if sample.started_at < self.cut_at:
            return self
        now = sample.started_at + sample.duration_s
        value = max(1, int(0.75 * self.value))
        return Aimd(value, self.ceiling, 0, now, f"a call was {sample.verdict}")

    def note_load(self, now: float, share: float) -> Self:
        """Return itself: it heeds what became of calls only."""
        return self

    def moved(self, ceiling: int) -> Aimd:
        """Return it with another ceiling."""
        value = min(self.value, ceiling)
        return Aimd(value, ceiling, self.credit, self.cut_at, self.reason)


def check_ceiling(value: int, name: str = "ceiling") -> None:
    """Raise ValueError for a ceiling that would let nothing through."""
    if value < 1:
        raise ValueError(f"{name} {value} is less than 1")
