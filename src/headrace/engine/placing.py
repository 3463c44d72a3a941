"""Chooses the endpoint of one call and takes all its permits, or says what is missing."""

from __future__ import annotations

from headrace.engine.lane import ENDPOINT, RATE, SLOT
from headrace.engine.site import NO_HOLD, Hold, Site
from headrace.engine.ticket import Ticket
from headrace.errors import LimitExceeded
from headrace.events import BreakerMoved, Listener
from headrace.model import Call
from headrace.policies.balance import Candidate, choose_headroom


class Placement:
    """The endpoints of one gate, and why the last call could not be placed.

    Invariant: permits are taken all or none.
    """

    def __init__(self, sites: list[Site], listener: Listener) -> None:
        self.sites = sites
        self._only = sites[0] if len(sites) == 1 else None
        self.reason = SLOT
        self.bound = ""
        self.wake_at: float | None = None
        """When a call that could not be placed may be looked at again."""
        self.behind = False
        """Is it for a call behind a head? Then the slots of heads are left to them."""
        self._listener = listener
        self._turn = 0

    def breaker_moved(self, site: Site) -> None:
        """Tell the listener what an endpoint's breaker has come to."""
        breaker = site.breaker
        self._listener(BreakerMoved(site.endpoint.name, breaker.state, breaker.reason))

    def has_room(self) -> bool:
        """Is there a free slot on any endpoint?"""
        for site in self.sites:  # noqa: SIM110  `any` costs twice as much here
            if site.in_flight < site.limit.value:
                return True
        return False

    def place(self, ticket: Ticket, now: float) -> bool:
        """Take all permits for a call that may start now; all or none."""
        site = self._only
        if site is None:
            return self._place_on_best(ticket, now)
        # The one endpoint there is: the same, without choosing.
        if site.in_flight >= site.limit.value:
            self.reason, self.bound = SLOT, ""
            return False
        breaker, rate = site.breaker, site.rate
        if breaker.state != "closed" or site.pauses or site.learnt:
            self.reason, self.bound = ENDPOINT, ""
            return self._is_eligible(site, ticket, now) and self._take(
                site, ticket, now
            )
        hold = NO_HOLD
        if rate.dims:
            costs = rate.costs(ticket.tokens)
            after, at = rate.reserve(now, costs)
            if at > now:
                self.wake(at)
                self.reason, self.bound = RATE, rate.binding(now, costs)
                return False
            site.rate = after
            hold = Hold(at, costs)
        ticket.permit = breaker.generation
        self.start(site, ticket, hold)
        return True

    def _place_on_best(self, ticket: Ticket, now: float) -> bool:
        """Place on the endpoint with the most room of those that may be used."""
        if not self.has_room():
            self.reason, self.bound = SLOT, ""
            return False
        self.reason, self.bound = ENDPOINT, ""
        candidates = [
            Candidate(
                s.index,
                s.in_flight,
                s.limit.value,
                s.rate_headroom(ticket.call, now),
                s.endpoint.weight,
            )
            for s in self.sites
            if self._is_eligible(s, ticket, now)
        ]
        while candidates:
            self._turn += 1
            index = choose_headroom(candidates, self._turn)
            if index is None:
                return False
            if self._take(self.sites[index], ticket, now):
                return True
            candidates = [c for c in candidates if c.index != index]
        return False

    def may_start(self, site: Site, ticket: Ticket, now: float) -> bool:
        """May this call start here now? If not, note when to look again."""
        return self._is_eligible(site, ticket, now)

    def _is_eligible(self, site: Site, ticket: Ticket, now: float) -> bool:
        """May this call start here now? If not, note why and when to look again."""
        call = ticket.call
        if call.avoid and site.endpoint.name == call.avoid:
            return False
        if site.pauses and self._is_paused(site, call.model, now):
            return False
        if not site.has_slot(behind=self.behind):
            self._note(SLOT, "")
            return False
        if (site.rate.dims or site.learnt) and not self._rate_allows(site, ticket, now):
            return False
        return self._is_well(site, now)

    def _is_paused(self, site: Site, model: str, now: float) -> bool:
        until = site.paused_until(model, now)
        if not until:
            return False
        self.wake(until)
        self._note(RATE, "calls")
        return True

    def _rate_allows(self, site: Site, ticket: Ticket, now: float) -> bool:
        call, tokens = ticket.call, ticket.tokens
        if site.rate_fits(call, tokens):
            return False
        at = site.rate_at(call, tokens, now)
        if at <= now:
            return True
        self.wake(at)
        self._note(RATE, site.rate_bound(call, tokens, now))
        return False

    def _is_well(self, site: Site, now: float) -> bool:
        """Is the endpoint not cut off? If it is, note when to look again."""
        retry_at = site.breaker.retry_at
        if site.breaker.state != "open" or retry_at is None or retry_at <= now:
            return True
        self.wake(retry_at)
        return False

    def _take(self, site: Site, ticket: Ticket, now: float) -> bool:
        if not self.admit_breaker(site, ticket, now):
            return False
        hold = NO_HOLD
        if site.rate.dims or site.learnt:
            hold = site.reserve(ticket.call, ticket.tokens, now)
        self.start(site, ticket, hold)
        return True

    def start(self, site: Site, ticket: Ticket, hold: Hold) -> None:
        """Book the slot: the call goes."""
        site.in_flight = in_flight = site.in_flight + 1
        if in_flight > site.peak:
            site.peak = in_flight
        site.started = ticket.number = site.started + 1
        ticket.site = site
        ticket.hold = hold
        ticket.call.trace.endpoint = site.endpoint.name

    def admit_breaker(self, site: Site, ticket: Ticket, now: float) -> bool:
        """Ask the endpoint's breaker for a permit; if refused, note when to ask again."""
        before = site.breaker.state
        if before == "closed":
            ticket.permit = site.breaker.generation
            return True
        site.breaker, permit = site.breaker.admit(now)
        if site.breaker.state != before:
            self.breaker_moved(site)
        if permit is None:
            if site.breaker.retry_at is not None:
                self.wake(site.breaker.retry_at)
            return False
        ticket.permit = permit
        return True

    def _note(self, reason: int, bound: str) -> None:
        """Remember the weakest reason: a slot before a rate before health."""
        if self.reason == ENDPOINT or reason == SLOT:
            self.reason, self.bound = reason, bound

    def check_fits(self, call: Call, tokens: int) -> None:
        """Raise LimitExceeded if no endpoint could ever hold the call."""
        for site in self.sites:
            if tokens <= site.rate.terms.most_tokens:
                return
        tight = self.sites[0].rate_fits(call, tokens)
        raise LimitExceeded(
            f"call {call.id} needs {tokens} tokens, more "
            f"than the limit of {tight} a minute can ever hold; "
            "raise the limit or ask for fewer tokens"
        )

    def earliest(self, ticket: Ticket, now: float) -> Site | None:
        """Return the endpoint where only the rate is in the way, and the shortest."""
        best: Site | None = None
        best_at = 0.0
        for site in self.sites:
            if not site.has_slot() or not _may_try(site, ticket, now):
                continue
            at = site.rate_at(ticket.call, ticket.tokens, now)
            if best is None or at < best_at:
                best, best_at = site, at
        return best

    def wake(self, at: float) -> None:
        """Note a moment at which an answer may change."""
        if self.wake_at is None or at < self.wake_at:
            self.wake_at = at


def _may_try(site: Site, ticket: Ticket, now: float) -> bool:
    """Is nothing but the rate in the way on this endpoint?"""
    call = ticket.call
    if site.rate_fits(call, ticket.tokens) or site.paused_until(call.model, now):
        return False
    if site.waits_for_learnt(call, ticket.tokens, now):
        return False
    return site.breaker.state != "open"
