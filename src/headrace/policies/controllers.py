"""Who may find out how many calls are in flight, by name; several may at once."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import msgspec

from headrace.model import DEFAULT_IN_FLIGHT, DEFAULT_MAX_IN_FLIGHT, Limits
from headrace.policies.adaptive import START, adaptive
from headrace.policies.climbing import MOST, Throughput
from headrace.policies.concurrency import (
    Aimd,
    Fixed,
    InFlightLimit,
    Sample,
    check_ceiling,
)


class CpuRules(msgspec.Struct, frozen=True, gc=False):
    """When this machine counts as busy or idle, and how fast the limit moves."""

    busy: float = 0.8
    idle: float = 0.5
    """Between the two nothing moves: the hysteresis."""
    smoothing_s: float = 5.0
    """Time constant of the mean: one busy second moves nothing."""
    rest_s: float = 5.0
    """Least time between two moves, by when the last one shows."""
    step: float = 0.1
    """Share of the limit that one move adds or takes, at least one slot."""


CPU_RULES = CpuRules()
"""Source: the CPU rule of docs/design.md (80 and 50 %); the rest keeps it calm."""


class Cpu(msgspec.Struct, frozen=True, gc=False):
    """Fewer calls while this machine's CPUs are busy, more while they idle."""

    learns: ClassVar[bool] = True
    heeds_load: ClassVar[bool] = True
    value: int
    ceiling: int
    load: float | None = None
    """Smoothed share of the CPUs in use, 0 to 1; None before the first reading."""
    read_at: float = 0.0
    moved_at: float = -math.inf
    is_full: bool = False
    """Have all slots been used since the last move?"""
    reason: str = ""

    def __post_init__(self) -> None:
        check_ceiling(self.ceiling)

    @property
    def learnt(self) -> int | None:
        """Nothing: the next run may have the machine to itself."""
        return None

    def observe(self, sample: Sample) -> Cpu:
        """Note whether all slots are used."""
        if self.is_full or sample.in_flight < self.value:
            return self
        return Cpu(
            self.value,
            self.ceiling,
            self.load,
            self.read_at,
            self.moved_at,
            True,  # noqa: FBT003  the constructor of the hot path
            self.reason,
        )

    def note_load(self, now: float, share: float) -> Cpu:
        """Return the limit after a reading; it moves once in `rest_s` at most."""
        rules = CPU_RULES
        if self.load is None:
            load = share
        else:
            weight = 1.0 - math.exp((self.read_at - now) / rules.smoothing_s)
            load = self.load + weight * (share - self.load)
        value = self.value
        if now - self.moved_at >= rules.rest_s:
            step = max(1, int(rules.step * value))
            if load > rules.busy:
                value = max(1, value - step)
            elif load < rules.idle and self.is_full:
                value = min(self.ceiling, value + step)
        if value == self.value:
            known = (self.moved_at, self.is_full, self.reason)
        else:
            known = (now, False, f"CPU at {round(100 * load)} %")
        return Cpu(value, self.ceiling, load, now, *known)

    def moved(self, ceiling: int) -> Cpu:
        """Return it with another ceiling."""
        value = min(self.value, ceiling)
        return msgspec.structs.replace(self, value=value, ceiling=ceiling)


class Lowest(msgspec.Struct, frozen=True, gc=False):
    """Several limits at once: the lowest holds."""

    learns: ClassVar[bool] = True
    members: tuple[InFlightLimit, ...]
    value: int
    heeds_load: bool

    @property
    def reason(self) -> str:
        """Why the limit that holds last moved."""
        return min(self.members, key=_value).reason

    @property
    def learnt(self) -> int | None:
        """What the next run may start from, if any of them learnt."""
        learnt = [m.learnt for m in self.members if m.learnt is not None]
        return min(self.value, *learnt) if learnt else None

    def observe(self, sample: Sample) -> Self:
        """Return the limits after `sample`, of which each sees all."""
        return self._after([m.observe(sample) for m in self.members])

    def note_load(self, now: float, share: float) -> Self:
        """Return the limits after a reading of this machine's load."""
        return self._after([m.note_load(now, share) for m in self.members])

    def moved(self, ceiling: int) -> Self:
        """Return the limits with another ceiling."""
        return self._after([m.moved(ceiling) for m in self.members])

    def _after(self, members: list[InFlightLimit]) -> Self:
        for before, after in zip(self.members, members, strict=True):
            if before is not after:
                value = min(m.value for m in members)
                return type(self)(tuple(members), value, self.heeds_load)
        return self


def _value(limit: InFlightLimit) -> int:
    return limit.value


def lowest(members: tuple[InFlightLimit, ...]) -> InFlightLimit:
    """Return what holds the lowest of `members`, at least one."""
    if len(members) == 1:
        return members[0]
    value = min(m.value for m in members)
    return Lowest(members, value, any(m.heeds_load for m in members))


def build_in_flight(limits: Limits, start: int | None = None) -> InFlightLimit:
    """Return the limit of calls in flight that `limits` asks for.

    Args:
        limits: of one endpoint.
        start: what the last run learnt here, >= 1; None = nothing is known.
    """
    in_flight = limits.in_flight
    if not isinstance(in_flight, str):
        return Fixed(DEFAULT_IN_FLIGHT if in_flight is None else in_flight)
    ceiling = limits.max_in_flight
    return lowest(tuple(_named(name, ceiling, start) for name in limits.controllers))


def _named(name: str, ceiling: int, start: int | None) -> InFlightLimit:
    if name == "auto":
        return adaptive(ceiling, start)
    if name == "aimd":
        return Aimd(min(start or START, ceiling), ceiling)
    if name == "cpu":
        return Cpu(min(DEFAULT_IN_FLIGHT, ceiling), ceiling)
    # Ten is its own ceiling; another one holds only if the user stated it.
    most = MOST if ceiling == DEFAULT_MAX_IN_FLIGHT else ceiling
    return Throughput(min(start or START, most), most)
