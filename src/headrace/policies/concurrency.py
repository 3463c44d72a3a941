"""How many calls may be in flight at once, learnt from what became of them."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Protocol, Self

import msgspec


class Verdict(StrEnum):
    """What one call says of the number of calls in flight.

    Source: Netflix concurrency-limits, `Limiter.Listener` (success, ignore, dropped).
    """

    OK = "ok"
    IGNORED = "ignored"
    """It says nothing: cancelled, refused for its own sake, or throttled by rate."""
    DROPPED = "dropped"
    """Too many were in flight."""


class Sample(msgspec.Struct, frozen=True, gc=False):
    """What became of one call."""

    started_at: float
    """Monotonic seconds."""
    duration_s: float
    in_flight: int
    """Calls in flight when it ended, itself included."""
    verdict: Verdict


class InFlightLimit(Protocol):
    """An estimate of how many calls may be in flight; a frozen value."""

    @property
    def value(self) -> int:
        """Calls that may be in flight now, >= 1."""
        ...

    @property
    def learns(self) -> bool:
        """Can a sample change anything? If not, none need be made."""
        ...

    def observe(self, sample: Sample) -> Self:
        """Return the estimate after `sample`; itself if nothing changed."""
        ...


class Fixed(msgspec.Struct, frozen=True, gc=False):
    """The number the user stated."""

    learns: ClassVar[bool] = False
    value: int

    def __post_init__(self) -> None:
        if self.value < 1:
            raise ValueError(f"value {self.value} is less than 1")

    def observe(self, sample: Sample) -> Self:
        """Return itself: a stated number is not learnt."""
        return self
