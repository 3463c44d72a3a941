"""The numbers of a service, for Prometheus.

Counters are kept as outcomes are recorded; gauges are read when somebody asks. Names and
units are those of Prometheus; each label has few values, or at most `MAX_ENDPOINTS`.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest

from headrace.changes import Watcher
from headrace.events import TryFailed
from headrace.jobs import Job
from headrace.model import Outcome
from headrace.service.operations.gauges import Gauges
from headrace.service.operations.requests import RequestCounts

MAX_ENDPOINTS = 64
"""Endpoints that are told apart in counters; those that come later are `other`."""
_WAITS = ("rate", "slot", "endpoint", "backoff", "joined")


class Metrics(Watcher):
    """The numbers of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauges = Gauges()
        self.registry.register(self.gauges)
        self.requests = RequestCounts(self.registry)
        self._items = self._counter(
            "items", "Items of jobs that ended, by how.", "route", "outcome"
        )
        self._calls = self._counter(
            "calls", "Calls made for items of jobs that ended.", "route", "endpoint"
        )
        self._failed = self._counter(
            "calls_failed", "Calls that failed, by error code.", "endpoint", "code"
        )
        self._tokens = self._counter(
            "tokens", "Tokens, as the providers counted them.", "route", "direction"
        )
        self._cost = self._counter("cost_usd", "US dollars spent on items.", "route")
        self._waits = self._counter(
            "wait_seconds", "Seconds that items waited, by why.", "route", "reason"
        )
        self._in_flight = self._counter(
            "in_flight_seconds", "Seconds that calls for items were under way.", "route"
        )
        self._endpoints: set[str] = set()

    def text(self) -> bytes:
        """Return all of them as Prometheus reads it."""
        return generate_latest(self.registry)

    def recorded(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes: a group at once, for they are many."""
        route = job.route
        for state, count in Tally(o.state.value for o in outcomes).items():
            self._items.labels(route, state).inc(count)
        calls: Tally[str] = Tally()
        for outcome in outcomes:
            calls[outcome.trace.endpoint] += outcome.trace.tries
        for endpoint, count in calls.items():
            if endpoint:
                self._calls.labels(route, self._bounded(endpoint)).inc(count)
        used = [o.usage for o in outcomes if o.usage is not None]
        self._tokens.labels(route, "input").inc(sum(u.input_tokens for u in used))
        self._tokens.labels(route, "output").inc(sum(u.output_tokens for u in used))
        self._cost.labels(route).inc(float(sum(o.cost_usd or 0 for o in outcomes)))
        for reason in _WAITS:
            spent_s = sum(getattr(o.trace, f"{reason}_s") for o in outcomes)
            self._waits.labels(route, reason).inc(spent_s)
        self._in_flight.labels(route).inc(sum(o.trace.in_flight_s for o in outcomes))

    def tried(self, event: TryFailed) -> None:
        """Count a call that failed."""
        self._failed.labels(self._bounded(event.endpoint), str(event.code)).inc()

    def _bounded(self, endpoint: str) -> str:
        if endpoint not in self._endpoints:
            if len(self._endpoints) >= MAX_ENDPOINTS:
                return "other"
            self._endpoints.add(endpoint)
        return endpoint

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        full = f"headrace_{name}_total"
        return Counter(full, about, labels, registry=self.registry)
