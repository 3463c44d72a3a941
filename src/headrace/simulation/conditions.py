"""What makes a simulated provider's day: strain, faults in bursts, changes, company."""

from __future__ import annotations

import math
from typing import Any

import msgspec


def within(key: str, value: float | None, least: float, most: float) -> None:
    """Accept a number of a range, or None.

    Raises:
        ValueError: it is outside, or not finite; names key, number and range.
    """
    if value is not None and not (least <= value <= most and math.isfinite(value)):
        limit = (
            f"from {least:g} to {most:g}" if math.isfinite(most) else f">= {least:g}"
        )
        raise ValueError(f"{key} {value} is not {limit}")


class Knee(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Above `level` calls at once everything takes longer.

    A latency is multiplied by exp(steepness x (in flight - level) / level): with a
    steepness of 1 or more, throughput is highest at `level`.
    """

    level: int
    steepness: float = 1.0

    def __post_init__(self) -> None:
        within("knee.level", self.level, 1, math.inf)
        within("knee.steepness", self.steepness, 0, 100)

    def factor(self, in_flight: int) -> float:
        """Return how much longer a call takes that starts beside so many."""
        above = max(0, in_flight - self.level) / self.level
        return math.exp(min(50.0, self.steepness * above))


class Stragglers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `share` of the calls takes `factor` times as long."""

    share: float = 0.01
    factor: float = 10.0

    def __post_init__(self) -> None:
        within("stragglers.share", self.share, 0, 1)
        within("stragglers.factor", self.factor, 0, math.inf)


class FailureBursts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Failures that come together: once in `every_s`, for `for_s` seconds.

    Where in its period a burst begins is drawn by the seed. Within it a `share` of the
    calls that arrive is answered `status`.
    """

    every_s: float
    for_s: float
    share: float = 1.0
    status: int = 503

    def __post_init__(self) -> None:
        within("failure_bursts.every_s", self.every_s, 0.001, math.inf)
        within("failure_bursts.for_s", self.for_s, 0, self.every_s)
        within("failure_bursts.share", self.share, 0, 1)
        within("failure_bursts.status", self.status, 400, 599)


class Others(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other clients use the same quota, evenly: `rpm` calls of `tokens` each."""

    rpm: float
    tokens: int = 0

    def __post_init__(self) -> None:
        within("others.rpm", self.rpm, 0.001, 1_000_000)
        within("others.tokens", self.tokens, 0, math.inf)


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At `at_s` seconds after the start the settings in `set` begin to hold."""

    at_s: float
    set: dict[str, Any]

    def __post_init__(self) -> None:
        within("changes.at_s", self.at_s, 0, math.inf)
