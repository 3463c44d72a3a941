"""One endpoint as the gate sees it: its limits, its health and what runs on it."""

from __future__ import annotations

import msgspec

from headrace.events import EndpointView
from headrace.model import DEFAULT_IN_FLIGHT, Call, Endpoint, Limits, Quota, Usage
from headrace.policies.breaker import Breaker
from headrace.policies.concurrency import Fixed, InFlightLimit
from headrace.policies.health import NO_LATENCY, NO_REFUSALS, SLOW_START_S, warmth
from headrace.policies.rate import RateLimit, build_rate
from headrace.policies.retry import RetryBudget

LATENESS_S = 0.02
"""How late after its scheduled time a call may start; counted as jitter in the rate."""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """What one call has reserved of the rates of one endpoint."""

    start_at: float
    """When it may start."""
    costs: tuple[float, ...] = ()


NO_HOLD = Hold(0.0)


class Site:
    """The state of one endpoint; only the gate changes it."""

    __slots__ = (
        "breaker",
        "budget",
        "endpoint",
        "in_flight",
        "index",
        "is_draining",
        "latency",
        "limit",
        "models",
        "pauses",
        "peak",
        "quotas",
        "rate",
        "refusals",
        "throttles",
        "warm_at",
    )

    def __init__(self, index: int, endpoint: Endpoint, breaker: Breaker) -> None:
        self.index = index
        self.endpoint = endpoint
        self.in_flight = 0
        self.peak = 0
        in_flight = endpoint.limits.in_flight
        self.limit: InFlightLimit = Fixed(
            in_flight if isinstance(in_flight, int) else DEFAULT_IN_FLIGHT
        )
        self.rate: RateLimit = build_rate(_with_lateness(endpoint.limits))
        self.breaker = breaker
        self.budget = RetryBudget()
        self.pauses: dict[str, float] = {}
        self.throttles = 0
        self.quotas: tuple[Quota, ...] = ()
        self.latency = NO_LATENCY
        self.refusals = NO_REFUSALS
        self.models = frozenset(endpoint.models)
        self.is_draining = False
        """Does no call start here any more?"""
        self.warm_at = 0.0
        """When its slow start is over."""

    # ---- health

    def serves(self, model: str) -> bool:
        """May calls of `model` go here? Those that name no model may go anywhere."""
        return not self.models or not model or model in self.models

    def warm_up(self, now: float) -> None:
        """Begin with few calls: it is new, or was sick."""
        self.warm_at = now + SLOW_START_S

    def warmth(self, now: float) -> float:
        """Return the share of its weight and slots that it has now, 0.1 to 1."""
        if now >= self.warm_at:
            return 1.0
        return warmth(SLOW_START_S - (self.warm_at - now))

    # ---- rates: all that is known of them stands behind these

    def rate_fits(self, call: Call, tokens: int) -> str | None:
        """Return the rate limit that could never hold the call, or None."""
        return self.rate.fits(self.rate.costs(tokens)) if self.rate.dims else None

    def rate_at(self, call: Call, tokens: int, now: float) -> float:
        """Return when the rates let the call start, >= `now`; inf = never."""
        rate = self.rate
        return rate.earliest(now, rate.costs(tokens))

    def rate_bound(self, call: Call, tokens: int, now: float) -> str:
        """Return which rate makes the call wait; "" if none does."""
        return self.rate.binding(now, self.rate.costs(tokens))

    def rate_headroom(self, call: Call, now: float) -> float:
        """Return the least share left of any rate limit, 0 to 1."""
        return self.rate.headroom(now)

    def reserve(self, call: Call, tokens: int, now: float) -> Hold:
        """Take what the call needs of all rates, from its earliest start on."""
        costs = self.rate.costs(tokens)
        self.rate, start_at = self.rate.reserve(now, costs)
        return Hold(start_at, costs)

    def give_back(self, hold: Hold) -> None:
        """Undo a reservation: its call was never sent."""
        self.rate = self.rate.give_back(hold.costs, hold.start_at)

    def settle(self, call: Call, hold: Hold, usage: Usage, now: float) -> None:
        """Correct a reservation once it is known what the call used."""
        rate = self.rate
        if rate.terms.settles:
            used = rate.costs(usage.total_tokens)
            self.rate = rate.settle(now, hold.costs, used, hold.start_at)

    def has_slot(self) -> bool:
        """May one more call be in flight?"""
        return self.in_flight < self.limit.value

    def paused_until(self, model: str, now: float) -> float:
        """Return until when this endpoint wants no calls of `model`; 0.0 = it does."""
        until = self.pauses.get(model, 0.0)
        if until and until <= now:
            del self.pauses[model]
            return 0.0
        return until

    def pause(self, model: str, until: float) -> None:
        """Start no call of `model` here before `until`."""
        if until > self.pauses.get(model, 0.0):
            self.pauses[model] = until

    def view(self, now: float) -> EndpointView:
        """Return how this endpoint stands, for people."""
        used = dict(
            zip((d.name for d in self.rate.dims), self.rate.used(now), strict=True)
        )
        return EndpointView(
            name=self.endpoint.name,
            in_flight=self.in_flight,
            in_flight_limit=self.limit.value,
            state=self.breaker.state,
            calls_used=used.get("calls"),
            tokens_used=used.get("tokens"),
            quotas=self.quotas,
        )


def _with_lateness(limits: Limits) -> Limits:
    return Limits(
        limits.in_flight,
        limits.calls_per_minute,
        limits.tokens_per_minute,
        limits.jitter_s + LATENESS_S,
        limits.token_accounting,
        limits.max_in_flight,
    )
