"""One endpoint as the gate sees it: its limits, its health and what runs on it."""

from __future__ import annotations

from headrace.events import EndpointView
from headrace.model import Cost, Endpoint, Limits, Quota
from headrace.policies.breaker import Breaker
from headrace.policies.concurrency import Fixed, InFlightLimit
from headrace.policies.rate import RateLimit, build_rate
from headrace.policies.retry import RetryBudget

LATENESS_S = 0.02
"""How late after its scheduled time a call may start; counted as jitter in the rate."""


class Site:
    """The state of one endpoint; only the gate changes it."""

    __slots__ = (
        "breaker",
        "budget",
        "endpoint",
        "in_flight",
        "index",
        "limit",
        "pauses",
        "peak",
        "quotas",
        "rate",
        "throttles",
    )

    def __init__(self, index: int, endpoint: Endpoint, breaker: Breaker) -> None:
        self.index = index
        self.endpoint = endpoint
        self.in_flight = 0
        self.peak = 0
        self.limit: InFlightLimit = Fixed(endpoint.limits.in_flight)
        self.rate: RateLimit = build_rate(_with_lateness(endpoint.limits))
        self.breaker = breaker
        self.budget = RetryBudget()
        self.pauses: dict[str, float] = {}
        self.throttles = 0
        self.quotas: tuple[Quota, ...] = ()

    def costs(self, cost: Cost) -> tuple[float, ...]:
        """Return what `cost` takes of each dimension that is limited here."""
        return self.rate.costs(cost.tokens) if self.rate.dims else ()

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
    )
