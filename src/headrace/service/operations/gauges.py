"""How a service stands at the moment somebody asks: queues, limits, endpoints."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.durable import Headrace
from headrace.engine.gate import Gate
from headrace.engine.lane import RATE, SLOT
from headrace.events import EndpointView
from headrace.model import Priority
from headrace.service.stream.hub import Hub

MAX_SHOWN = 64
"""Endpoints of a route that are shown."""
_STATES = ("closed", "open", "half_open", "draining", "drained")
_BINDING = {RATE: "rate", SLOT: "slot"}


class Gauges(Collector):
    """What was read last, as Prometheus wants it."""

    def __init__(self) -> None:
        self._families: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        """Return the families as `read` found them."""
        return self._families

    async def read(self, home: Headrace, hub: Hub) -> None:
        """Look at the store and at each gate.

        Raises:
            StoreError: it cannot be read now.
        """
        gates = home.gates()
        flows = Tally(
            (flow.route, flow.priority) for flow in await home.store.flows(list(gates))
        )
        queued = _gauge("items_queued", "Items that wait in the store.", "route")
        jobs = _gauge(
            "jobs_waiting", "Jobs with items that may run now.", "route", "priority"
        )
        for route in gates:
            queued.add_metric([route], await home.store.queued([route]))
            for priority in Priority:
                labels = [route, priority.name.lower()]
                jobs.add_metric(labels, flows[route, priority])
        waiting = _of_waiting(gates)
        self._families = [queued, jobs, *waiting, *_of_endpoints(gates), *_of_hub(hub)]


def _of_waiting(gates: Mapping[str, Gate]) -> Iterator[Metric]:
    calls = _gauge(
        "calls_waiting", "Calls that wait for their turn.", "route", "priority"
    )
    why = _gauge(
        "calls_held",
        "Calls that wait, by what their first waits for.",
        *("route", "by"),
    )
    for route, gate in gates.items():
        by_priority: Tally[Priority] = Tally()
        by_reason: Tally[str] = Tally()
        for lane in gate.lanes:
            by_priority.update(ticket.call.priority for ticket in lane.queue)
            reason = _BINDING.get(lane.spell.reason, "endpoint")
            by_reason[reason] += lane.queue.size
        for priority in Priority:
            calls.add_metric([route, priority.name.lower()], by_priority[priority])
        for reason in ("rate", "slot", "endpoint"):
            why.add_metric([route, reason], by_reason[reason])
    yield calls
    yield why


def _of_endpoints(gates: Mapping[str, Gate]) -> Iterator[Metric]:
    labels = ("route", "endpoint")
    flight = _gauge("endpoint_in_flight", "Calls under way.", *labels)
    limit = _gauge("endpoint_in_flight_limit", "Calls that may be under way.", *labels)
    state = _gauge("endpoint_state", "1 for its state, else 0.", *labels, "state")
    used = _gauge(
        "endpoint_rate_used_ratio", "Share of a stated rate in use.", *labels, "rate"
    )
    for route, gate in gates.items():
        for view in gate.views()[:MAX_SHOWN]:
            at = [route, view.name]
            flight.add_metric(at, view.in_flight)
            limit.add_metric(at, view.in_flight_limit)
            for each in _STATES:
                state.add_metric([*at, each], float(view.state == each))
            for rate, share in _rates(view):
                used.add_metric([*at, rate], share)
    yield from (flight, limit, state, used)


def _rates(view: EndpointView) -> Iterator[tuple[str, float]]:
    if view.calls_used is not None:
        yield "calls", view.calls_used
    if view.tokens_used is not None:
        yield "tokens", view.tokens_used


def _of_hub(hub: Hub) -> Iterator[Metric]:
    listeners = _gauge("listeners", "Clients that listen to events.")
    listeners.add_metric([], hub.listeners)
    yield listeners
    for name, about, value in (
        ("events_told", "Events handed to listeners.", hub.told),
        ("events_coalesced", "Events that a newer one replaced.", hub.coalesced),
        ("events_dropped", "Events given up for slow listeners.", hub.dropped),
    ):
        counter = CounterMetricFamily(f"headrace_{name}", about)
        counter.add_metric([], value)
        yield counter


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"headrace_{name}", about, labels=labels)
