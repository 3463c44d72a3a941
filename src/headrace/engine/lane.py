"""The calls of one model that wait at one gate, and why they wait."""

from __future__ import annotations

from headrace.engine.site import Site
from headrace.engine.ticket import Ticket
from headrace.policies.admission import FairQueue

RATE, SLOT, ENDPOINT = 0, 1, 2
"""Why the head of a lane waits; the places of `Lane.waited`."""

CLASS_WEIGHTS = (10.0, 15.0, 25.0, 50.0)
"""Shares of the priorities low to urgent when lanes compete for one slot."""


class Lane:
    """The calls of one model that wait at one gate."""

    __slots__ = (
        "bound",
        "head",
        "head_costs",
        "head_site",
        "model",
        "passed",
        "queue",
        "reason",
        "since",
        "start_at",
        "waited",
        "wake_at",
    )

    def __init__(self, model: str) -> None:
        self.model = model
        self.queue: FairQueue[Ticket] = FairQueue()
        self.head: Ticket | None = None
        """The waiting call that holds a rate reservation from `start_at` on."""
        self.head_site: Site | None = None
        self.head_costs: tuple[float, ...] = ()
        self.start_at = 0.0
        self.wake_at: float | None = None
        self.reason = SLOT
        self.bound = ""
        self.since = 0.0
        self.waited = [0.0, 0.0, 0.0]
        """Seconds in which some call of the lane waited, by reason."""
        self.passed = 0.0

    def _advance(self, now: float) -> None:
        """Book the time since the last event on the reason that held then."""
        if now > self.since:
            self.waited[self.reason] += now - self.since
            self.since = now

    def wait_for(self, reason: int, bound: str, now: float) -> None:
        """From now on the head of the lane waits for this."""
        if reason != self.reason or bound != self.bound:
            self._advance(now)
            self.reason, self.bound = reason, bound

    def begin_wait(self, ticket: Ticket, now: float) -> None:
        """A call begins to wait here."""
        self._advance(now)
        rate_s, slot_s, endpoint_s = self.waited
        ticket.waited_before = (rate_s, slot_s, endpoint_s)

    def end_wait(self, ticket: Ticket, now: float) -> None:
        """A call waits no more: book its wait, by reason."""
        self._advance(now)
        trace, waited, before = ticket.call.trace, self.waited, ticket.waited_before
        trace.rate_s += waited[RATE] - before[RATE]
        trace.slot_s += waited[SLOT] - before[SLOT]
        trace.endpoint_s += waited[ENDPOINT] - before[ENDPOINT]

    def hold(self, ticket: Ticket, site: Site, now: float) -> None:
        """Reserve the earliest rate start at `site` for the first call in order."""
        self.head = ticket
        self.head_site = site
        self.head_costs = site.costs(ticket.call.cost)
        site.rate, self.start_at = site.rate.reserve(now, self.head_costs)

    def give_back(self) -> None:
        """Give the head's reservation back unused; idempotent."""
        if self.head_site is not None:
            self.head_site.rate = self.head_site.rate.give_back(
                self.head_costs, self.start_at
            )
        self.head = self.head_site = None
