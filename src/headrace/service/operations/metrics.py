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
from headrace.events import CallEnded, TryFailed
from headrace.jobs import Job
from headrace.model import Outcome, Trace, Usage
from headrace.policies.budget import usd_of
from headrace.service.operations.gauges import Gauges
from headrace.service.operations.requests import RequestCounts

MAX_ENDPOINTS = 64
"""Endpoints that are told apart in counters; those that come later are `other`."""
JOBS, DIRECT = "jobs", "gateway"
"""Where calls come from, as the label `origin`."""
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
            "calls", "Calls made to providers.", "route", "origin", "endpoint"
        )
        self._failed = self._counter(
            "calls_failed", "Calls that failed, by error code.", "endpoint", "code"
        )
        self._tokens = self._counter(
            "tokens",
            "Tokens, as the providers counted them.",
            *("route", "origin", "direction"),
        )
        self._cost = self._counter(
            "cost_usd", "US dollars that calls have cost.", "route", "origin"
        )
        self._waits = self._counter(
            "wait_seconds",
            "Seconds that calls waited before they were made, by why.",
            *("route", "origin", "reason"),
        )
        self._in_flight = self._counter(
            "in_flight_seconds",
            "Seconds that calls were under way.",
            *("route", "origin"),
        )
        self._endpoints: set[str] = set()

    def text(self) -> bytes:
        """Return all of them as Prometheus reads it."""
        return generate_latest(self.registry)

    def recorded(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes: a group at once, for they are many."""
        for state, count in Tally(o.state.value for o in outcomes).items():
            self._items.labels(job.route, state).inc(count)
        self._count(
            job.route,
            JOBS,
            [outcome.trace for outcome in outcomes],
            [o.usage for o in outcomes if o.usage is not None and not o.trace.cached],
        )

    def called(self, event: CallEnded) -> None:
        """Count a call that no job holds."""
        is_paid = event.usage is not None and not event.trace.cached
        used = [event.usage] if event.usage is not None and is_paid else []
        self._count(event.route, DIRECT, [event.trace], used)

    def _count(
        self, route: str, origin: str, traces: Sequence[Trace], used: Sequence[Usage]
    ) -> None:
        """Count what was asked of the providers, and what it took."""
        calls: Tally[str] = Tally()
        for trace in traces:
            calls[trace.endpoint] += trace.tries
        for endpoint, count in calls.items():
            if endpoint:
                self._calls.labels(route, origin, self._bounded(endpoint)).inc(count)
        tokens = self._tokens.labels
        tokens(route, origin, "input").inc(sum(u.input_tokens for u in used))
        tokens(route, origin, "output").inc(sum(u.output_tokens for u in used))
        nano = sum(max(0, trace.cost_nano) for trace in traces)
        self._cost.labels(route, origin).inc(float(usd_of(nano)))
        for reason in _WAITS:
            spent_s = sum(getattr(trace, f"{reason}_s") for trace in traces)
            self._waits.labels(route, origin, reason).inc(spent_s)
        under_way_s = sum(trace.in_flight_s for trace in traces)
        self._in_flight.labels(route, origin).inc(under_way_s)

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
