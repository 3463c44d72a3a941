"""One endpoint as the gate sees it: its limits, its health and what runs on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from headrace.engine.siterates import SiteRates
from headrace.events import EndpointView
from headrace.model import Endpoint
from headrace.policies.breaker import Breaker
from headrace.policies.concurrency import InFlightLimit, Sample
from headrace.policies.controllers import build_in_flight
from headrace.policies.health import NO_LATENCY, NO_REFUSALS, SLOW_START_S, warmth
from headrace.policies.retry import RetryBudget

LOAD_INTERVAL_S = 1.0
"""How often the machine's load is read at most; only while calls end."""


class Site(SiteRates):
    """The state of one endpoint; only the gate changes it."""

    __slots__ = (
        "breaker",
        "budget",
        "emptied",
        "endpoint",
        "held",
        "index",
        "latency",
        "limit",
        "load",
        "load_at",
        "models",
        "pauses",
        "peak",
        "refusals",
        "started",
        "throttles",
        "warm_at",
    )

    def __init__(
        self,
        index: int,
        endpoint: Endpoint,
        breaker: Breaker,
        load: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(endpoint.limits)
        self.index = index
        self.endpoint = endpoint
        self.peak = 0
        self.held = 0
        """Heads of lanes that hold a reservation here, and will need a slot."""
        self.started = 0
        """Calls that ever started here."""
        self.load = load
        """Reads what share of this machine's CPUs is in use; None: nobody does."""
        self.load_at = -math.inf
        self.limit: InFlightLimit = build_in_flight(endpoint.limits)
        self.breaker = breaker
        self.budget = RetryBudget()
        self.pauses: dict[str, float] = {}
        self.throttles = 0
        self.latency = NO_LATENCY
        self.refusals = NO_REFUSALS
        self.models = frozenset(endpoint.models)
        self.emptied: asyncio.Event | None = None
        """Set once the last call has ended; None while calls start here."""
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

    def learn(self, sample: Sample) -> None:
        """Let the limit of calls in flight learn from one of them."""
        limit = self.limit.observe(sample)
        if limit.heeds_load and self.load is not None:
            now = sample.started_at + sample.duration_s
            if now - self.load_at >= LOAD_INTERVAL_S:
                self.load_at = now
                limit = limit.note_load(now, self.load())
        self.limit = limit

    def begin_at(self, in_flight: int) -> None:
        """Begin near what a former process learnt, if the limit is one that learns."""
        self.limit = build_in_flight(self.endpoint.limits, in_flight)

    def has_slot(self, *, behind: bool = False) -> bool:
        """May one more call be in flight? One `behind` leaves the heads their slots."""
        return self.in_flight + (self.held if behind else 0) < self.limit.value

    def paused_until(self, model: str, now: float) -> float:
        """Return until when this endpoint wants no calls of `model`; 0.0 = it does."""
        until = self.pauses.get(model, 0.0)
        if until and until <= now:
            del self.pauses[model]
            until = 0.0
        if self.learnt and (learnt := self.learnt.get(model)) is not None:
            until = max(until, learnt.blocked_until())
        return until if until > now else 0.0

    def pause(self, model: str, until: float) -> None:
        """Start no call of `model` here before `until`."""
        if until > self.pauses.get(model, 0.0):
            self.pauses[model] = until

    def _state(self) -> str:
        if self.emptied is None:
            return self.breaker.state
        return "draining" if self.in_flight else "drained"

    def view(self, now: float) -> EndpointView:
        """Return how this endpoint stands, for people."""
        used = dict(
            zip((d.name for d in self.rate.dims), self.rate.used(now), strict=True)
        )
        return EndpointView(
            name=self.endpoint.name,
            in_flight=self.in_flight,
            in_flight_limit=self.limit.value,
            state=self._state(),
            calls_used=used.get("calls"),
            tokens_used=used.get("tokens"),
            quotas=self.quotas,
            limit_reason=self.limit.reason,
            note=self.note,
            learnt=tuple(
                [r for m, rates in self.learnt.items() for r in rates.views(m, now)]
            ),
        )


class SiteMaker:
    """Makes the state of endpoints, each with a number of its own.

    Args:
        probe_timeout_s: how long a probe of a sick endpoint may take.
        load: reads what share of this machine's CPUs is in use, 0 to 1; None: nobody.
    """

    def __init__(
        self, probe_timeout_s: float, load: Callable[[], float] | None
    ) -> None:
        self._probe_timeout_s = probe_timeout_s
        self._load = load
        self._made = 0

    def make(self, endpoint: Endpoint) -> Site:
        """Return the state of an endpoint that nobody has called yet."""
        self._made += 1
        breaker = Breaker(probe_timeout_s=self._probe_timeout_s)
        return Site(self._made - 1, endpoint, breaker, self._load)
