"""Lets calls go that stand behind one that waits, if that one starts no later for it.

The first call in order of a lane (its *head*) waits for its rate, with a reservation
that says when it starts. What stands behind may go meanwhile, if by the arithmetic of
the reservations the head starts no later:

- at an endpoint that the head cannot use now;
- at the endpoint where it holds its reservation: that is given back, the other call
  reserved, the head reserved again; if its start is later than before, all is undone;
- never in a slot that a head with a reservation will need.

Whether a call may go is monotone in its cost: who costs no less than one refused is
refused too. So the first few are asked in order, then the cheapest of all; if that one
may not go, nobody may, and the lane is barred until something moves.
"""

from __future__ import annotations

import math
from itertools import islice

from headrace.engine.lane import Bar, Lane
from headrace.engine.placing import Placement
from headrace.engine.site import Site
from headrace.engine.ticket import Ticket

_LOOKED_AT = 32
"""Calls looked at in order before the cheapest one is taken."""
_DUST_S = 1e-6
"""Starts this close are the same: reservations add up floats in another order."""


class Backfill:
    """Finds who may go before the head of a lane, and takes its permits.

    Args:
        placement: the endpoints.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._refused_until: float | None = None
        """How long the last refusal holds if nothing moves; None: nobody knows."""

    def concerns(self, lane: Lane) -> bool:
        """May anybody behind the head of this lane have to be looked at?"""
        placement = self._placement
        if len(placement.sites) == 1:
            return lane.head_site is not None
        return placement.has_room()

    def next_of(self, lane: Lane, now: float) -> Ticket | None:
        """Give one call behind the head its permits and return it; None if none may go.

        It is left in its queue. Notes when to look again.
        """
        queue = lane.queue
        if queue.size < 2 or not self.concerns(lane) or self._is_barred(lane, now):
            return None
        head = queue.peek(now)
        assert head is not None
        most = math.inf
        for ticket in islice(queue.ahead(), _LOOKED_AT):
            if ticket is not head and ticket.tokens < most:
                if self._start(lane, head, ticket, now):
                    return ticket
                most = ticket.tokens
        if lane.least < most:
            cheapest = lane.cheapest_behind(head)
            if cheapest is not None and cheapest.tokens < most:
                if self._start(lane, head, cheapest, now):
                    return cheapest
                most = cheapest.tokens
        self._bar(lane, most)
        return None

    def admits(self, lane: Lane, ticket: Ticket, now: float) -> bool:
        """Give a call its permits that has just come to wait behind the head."""
        if not self.concerns(lane):
            return False
        is_barred = self._is_barred(lane, now)
        if is_barred and lane.bar is not None and ticket.tokens >= lane.bar.tokens:
            return False
        head = lane.queue.peek(now)
        assert head is not None
        if self._start(lane, head, ticket, now):
            return True
        if is_barred:
            self._bar(lane, ticket.tokens)
        return False

    def _bar(self, lane: Lane, tokens: float) -> None:
        """Remember that nobody of such a cost may go until something moves."""
        site, until = lane.head_site, self._refused_until
        if site is None or until is None or len(self._placement.sites) > 1:
            lane.bar = None
        else:
            lane.bar = Bar(site.snapshot(lane.model), site.held, tokens, until)

    def _is_barred(self, lane: Lane, now: float) -> bool:
        """Is it known already that nobody may go? Then look again when that ends."""
        bar, site = lane.bar, lane.head_site
        if bar is None or site is None or now >= bar.until:
            return False
        if not site.is_at(lane.model, bar.rates) or site.held != bar.held:
            return False
        if bar.until < math.inf:
            self._placement.wake(bar.until)
        return True

    def _start(self, lane: Lane, head: Ticket, ticket: Ticket, now: float) -> bool:
        """Give a call its permits if the head starts no later for it."""
        placement, site = self._placement, lane.head_site
        self._refused_until = None
        placement.behind = True
        try:
            if len(placement.sites) > 1 and placement.place(ticket, now):
                return True
            return site is not None and self._start_before(
                lane, site, (head, ticket), now
            )
        finally:
            placement.behind = False

    def _start_before(
        self, lane: Lane, site: Site, pair: tuple[Ticket, Ticket], now: float
    ) -> bool:
        """Reserve a call before the head at its own endpoint, or leave all as it is."""
        head, ticket = pair
        placement = self._placement
        if site.breaker.state != "closed" or not site.has_slot(behind=True):
            return False
        rates = site.snapshot(lane.model)
        site.give_back(lane.head_hold)
        if placement.may_start(site, ticket, now):
            hold = site.reserve(ticket.call, ticket.tokens, now)
            again = site.reserve(head.call, head.tokens, now)
            if hold.start_at <= now and again.start_at <= lane.head_due_at + _DUST_S:
                placement.admit_breaker(site, ticket, now)
                placement.start(site, ticket, hold)
                placement.wake(again.start_at)
                lane.head_hold = again
                return True
            self._refused_until = math.inf
        else:
            at = site.rate_at(ticket.call, ticket.tokens, now)
            self._refused_until = at if at > now else None
        site.restore(lane.model, rates)
        return False
