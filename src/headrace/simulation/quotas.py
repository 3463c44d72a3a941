"""The provider's calls and tokens per minute: admit, settle, tell."""

from __future__ import annotations

import math

import msgspec

from headrace.simulation.meters import Charge, Meter, meter
from headrace.simulation.scenario import Scenario
from headrace.simulation.visit import Headers, go_duration

_ROUNDING = 1e-6
"""A float just below a whole number of units is that number."""


class Refusal(msgspec.Struct, frozen=True):
    """Which limit had no room, and when it will."""

    dimension: str
    wait_s: float
    limit: float
    used: float
    wanted: float

    @property
    def message(self) -> str:
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
    """Both limits of one scenario; a call takes from both or from none."""

    def __init__(self, scenario: Scenario) -> None:
        self._calls: Meter | None = None
        self._tokens: Meter | None = None
        if scenario.rpm is not None:
            self._calls = meter(scenario.rate_model, scenario.rpm)
        if scenario.tpm is not None:
            self._tokens = meter(scenario.rate_model, scenario.tpm)

    def admit(self, now: float, tokens: float) -> Refusal | Charge | None:
        """Take one call and `tokens`; return the tokens' charge, if they are limited."""
        for name, limit, cost in (
            ("requests", self._calls, 1.0),
            ("tokens", self._tokens, tokens),
        ):
            if limit is not None and (wait_s := limit.wait_s(now, cost)) > 0:
                used = limit.limit - limit.remaining(now)
                return Refusal(name, wait_s, limit.limit, used, cost)
        if self._calls is not None:
            self._calls.charge(now, 1.0)
        return None if self._tokens is None else self._tokens.charge(now, tokens)

    def headers(self, now: float) -> Headers:
        """Return the `x-ratelimit-*` headers, true at this moment."""
        found: list[tuple[str, str]] = []
        for name, limit in (("requests", self._calls), ("tokens", self._tokens)):
            if limit is not None:
                found += (
                    (f"x-ratelimit-limit-{name}", f"{limit.limit:.0f}"),
                    (
                        f"x-ratelimit-remaining-{name}",
                        f"{int(limit.remaining(now) + _ROUNDING)}",
                    ),
                    (f"x-ratelimit-reset-{name}", go_duration(limit.reset_s(now))),
                )
        return tuple(found)
