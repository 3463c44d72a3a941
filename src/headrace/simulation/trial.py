"""A scenario of a whole run: upstreams, workload, limits, and what is expected of it.

```yaml
about: Hard cap of 64, answers of 5 s.
upstream: {latency: "lognormal:5:0.5", cap: 64}
duration_s: 500
expect:
  utilisation: {min: 0.95}
```
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from headrace.model import Endpoint, Limits, Priority, Retry
from headrace.simulation.conditions import within
from headrace.simulation.scenario import Scenario

MAX_CALLERS = 1_024
"""Calls of one group that are under way at once, waiting ones included."""


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls of one kind.

    Args:
        name: shown in the table.
        calls: how many; None = as many as find time within `duration_s`.
        at_s: when the first one comes.
        arrival: `backlog` all at once, `rate` evenly, `bursts` many at once now and then.
        per_s: for `rate`, calls a second.
        burst: for `bursts`, calls of one burst.
        every_s: for `bursts`, seconds between the begins of two.
        callers: for `backlog`, calls under way at once; few of them are an application
            that asks for less than it could get.
        priority: `low`, `normal`, `high` or `urgent`.
        tenant: calls of one tenant and group share one flow.
        max_tokens: what each call asks for at most.

    Raises:
        ValueError: a number outside its range, or one that its arrival needs is missing.
    """

    name: str = "calls"
    calls: int | None = None
    at_s: float = 0.0
    arrival: Literal["backlog", "rate", "bursts"] = "backlog"
    per_s: float | None = None
    burst: int | None = None
    every_s: float | None = None
    callers: int = MAX_CALLERS
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    tenant: str = ""
    max_tokens: int = 16

    def __post_init__(self) -> None:
        within("calls", self.calls, 1, 1_000_000)
        within("at_s", self.at_s, 0, math.inf)
        within("per_s", self.per_s, 0.001, 100_000)
        within("burst", self.burst, 1, 100_000)
        within("every_s", self.every_s, 0.001, math.inf)
        within("callers", self.callers, 1, MAX_CALLERS)
        within("max_tokens", self.max_tokens, 1, math.inf)
        needed: dict[str, tuple[str, ...]] = {
            "rate": ("per_s",),
            "bursts": ("burst", "every_s"),
        }
        for key in ("per_s", "burst", "every_s"):
            is_needed = key in needed.get(self.arrival, ())
            if is_needed != (getattr(self, key) is not None):
                word = "needs" if is_needed else "does not take"
                raise ValueError(f"arrival {self.arrival} {word} {key}")

    @property
    def rank(self) -> Priority:
        """The priority as calls bear it."""
        return Priority.parse(self.priority)


class OurLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Headrace is told of each endpoint; the keys are those of `headrace run`."""

    in_flight: int | str = "auto"
    max_in_flight: int = 512
    rpm: float | None = None
    tpm: float | None = None
    jitter_s: float = 0.2
    token_accounting: Literal["reserved", "actual"] = "reserved"

    def __post_init__(self) -> None:
        self.limits()

    def limits(self) -> Limits:
        """Return them as the gate takes them.

        Raises:
            ValueError: a number outside its range, or an unknown controller.
        """
        return Limits(
            self.in_flight,
            self.rpm,
            self.tpm,
            self.jitter_s,
            self.token_accounting,
            self.max_in_flight,
        )


class Best(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed limit that the run is measured against.

    Args:
        in_flight: calls at once at each endpoint, one number for each phase between
            changes, or one for all of them; empty = the cap or the knee of the upstream,
            else `max_in_flight`.
        search: fixed limits to try in its place; the one with most throughput counts.
        without: endpoints that the measure leaves out, for they are sick.
    """

    in_flight: tuple[int, ...] = ()
    search: tuple[int, ...] = ()
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for value in (*self.in_flight, *self.search):
            within("best.in_flight", value, 1, 100_000)


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a measure may be, both ends included."""

    min: float = -math.inf
    max: float = math.inf

    def __post_init__(self) -> None:
        if not self.min <= self.max:
            raise ValueError(f"max {self.max} is less than min {self.min}")

    def holds(self, value: float) -> bool:
        """Is `value` within it? Not a number is not."""
        return self.min <= value <= self.max


class Trial(msgspec.Struct, frozen=True):
    """One scenario of a whole run; made by `trial_from`.

    Args:
        name: of its file, without the ending.
        about: one line on what it shows.
        upstreams: the simulated provider behind each endpoint.
        workload: who calls.
        limits: what Headrace is told of each endpoint.
        retry: how often a call is tried.
        timeout_s: time limit of one attempt.
        jitter_s: a request takes from 0 to so many seconds to arrive.
        duration_s: when it ends; None = when all calls are done.
        seeds: runs with different chance; the median of each measure counts.
        best: what it is measured against.
        expect: the range of each measure that is expected.
    """

    name: str
    about: str
    upstreams: dict[str, Scenario]
    workload: tuple[Group, ...]
    limits: OurLimits
    retry: Retry
    timeout_s: float
    jitter_s: float
    duration_s: float | None
    seeds: int
    best: Best
    expect: dict[str, Range]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints as the gate takes them."""
        limits = self.limits.limits()
        return tuple(Endpoint(name, limits=limits) for name in self.upstreams)

    @property
    def edges_s(self) -> tuple[float, ...]:
        """When phases begin: at the start, and where an upstream changes."""
        found = {0.0}
        for scenario in self.upstreams.values():
            found.update(change.at_s for change in scenario.changes)
        return tuple(sorted(found))

    def phase(self, number: int) -> Trial:
        """Return the n-th phase, from 0, as a trial of its own without changes."""
        edges_s = self.edges_s
        if len(edges_s) == 1:
            return self
        at_s = edges_s[number]
        following = edges_s[number + 1 :]
        end_s = following[0] if following else self.duration_s
        return msgspec.structs.replace(
            self,
            upstreams={
                name: _as_of(scenario, at_s)
                for name, scenario in self.upstreams.items()
            },
            duration_s=None if end_s is None else end_s - at_s,
        )

    def with_in_flight(self, in_flight: int | str) -> Trial:
        """Return this trial under another limit."""
        limits = msgspec.structs.replace(self.limits, in_flight=in_flight)
        return msgspec.structs.replace(self, limits=limits)

    def without(self, names: tuple[str, ...]) -> Trial:
        """Return this trial with some endpoints left out."""
        left = {n: s for n, s in self.upstreams.items() if n not in names}
        return msgspec.structs.replace(self, upstreams=left)


def _as_of(scenario: Scenario, at_s: float) -> Scenario:
    """Return how an upstream is at a moment, for good."""
    found = msgspec.structs.replace(scenario, changes=())
    for change_at_s, changed in scenario.course():
        if change_at_s <= at_s:
            found = changed
    return found
