"""The provider's calls and tokens per minute: admit, settle, tell."""

from __future__ import annotations

import math

import msgspec

from headrace.simulation.meters import WINDOW_S, Charge, Meter, Rise, meter
from headrace.simulation.scenario import Scenario
from headrace.simulation.visit import Headers, go_duration

_ROUNDING = 1e-6
"""A float just below a whole number of units is that number."""
RISE = "rise"
"""The limit on how fast the rate of calls may grow, named as if a dimension."""


class Refusal(msgspec.Struct, frozen=True):
    """Which limit had no room, and when it will."""

    dimension: str
    wait_s: float
    limit: float
    used: float
    wanted: float

    @property
    def message(self) -> str:
        if self.dimension == RISE:
            return "Request rate increased too quickly; please slow down."
        name = (
            "requests per min (RPM)"
            if self.dimension == "requests"
            else "tokens per min (TPM)"
        )
        asked = f"Limit {self.limit:g}, Used {self.used:g}, Requested {self.wanted:g}."
        if math.isinf(self.wait_s):
            return f"Request too large on {name}: {asked}"
        return (
            f"Rate limit reached on {name}: {asked} "
            f"Please try again in {go_duration(self.wait_s)}."
        )


class Quotas:
    """All rates of one scenario; a call takes from each of them or from none.

    Args:
        scenario: the limits, and who else uses them.
        now: from when on the others do.
    """

    def __init__(self, scenario: Scenario, now: float) -> None:
        self._calls: Meter | None = None
        self._tokens: Meter | None = None
        self._rise: Rise | None = None
        if scenario.rpm is not None:
            self._calls = meter(scenario.rate_model, scenario.rpm)
        if scenario.tpm is not None:
            self._tokens = meter(scenario.rate_model, scenario.tpm)
        if scenario.rise_per_s is not None:
            self._rise = Rise(scenario.rise_per_s)
        self._told = scenario.headers_factor
        self._others = scenario.others
        self._others_at = now

    def admit(self, now: float, tokens: float) -> Refusal | Charge | None:
        """Take one call and `tokens`; return the tokens' charge, if they are limited."""
        self._let_others_call(now)
        if self._rise is not None and (wait_s := self._rise.wait_s(now)) > 0:
            return Refusal(RISE, wait_s, self._rise.per_s, 0, 1)
        for name, limit, cost in (
            ("requests", self._calls, 1.0),
            ("tokens", self._tokens, tokens),
        ):
            if limit is not None and (wait_s := limit.wait_s(now, cost)) > 0:
                used = limit.limit - limit.remaining(now)
                return Refusal(name, wait_s, limit.limit, used, cost)
        if self._rise is not None:
            self._rise.charge()
        if self._calls is not None:
            self._calls.charge(now, 1.0)
        return None if self._tokens is None else self._tokens.charge(now, tokens)

    def _let_others_call(self, now: float) -> None:
        """Take what the other clients took since they were last looked at."""
        others = self._others
        if others is None:
            return
        tokens = float(others.tokens)
        while self._others_at < now:
            at = self._others_at
            self._others_at += WINDOW_S / others.rpm
            taken = ((self._calls, 1.0), (self._tokens, tokens))
            if all(m is None or m.wait_s(at, cost) <= 0 for m, cost in taken):
                for m, cost in taken:
                    if m is not None:
                        m.charge(at, cost)

    def headers(self, now: float) -> Headers:
        """Return the `x-ratelimit-*` headers, true at this moment unless told not to."""
        self._let_others_call(now)
        told = self._told
        found: list[tuple[str, str]] = []
        for name, limit in (("requests", self._calls), ("tokens", self._tokens)):
            if limit is not None:
                found += (
                    (f"x-ratelimit-limit-{name}", f"{limit.limit * told:.0f}"),
                    (
                        f"x-ratelimit-remaining-{name}",
                        f"{int(limit.remaining(now) * told + _ROUNDING)}",
                    ),
                    (f"x-ratelimit-reset-{name}", go_duration(limit.reset_s(now))),
                )
        return tuple(found)
