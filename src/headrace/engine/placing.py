"""Chooses the endpoint of one call and takes all its permits, or says what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.engine.lane import ENDPOINT, RATE, SLOT
from headrace.engine.site import Site
from headrace.engine.siterates import NO_HOLD, Hold
from headrace.engine.ticket import Ticket
from headrace.errors import LimitExceeded, Unserved
from headrace.events import BreakerMoved, Listener
from headrace.model import Call
from headrace.policies.balance import Headroom
from headrace.policies.breaker import Breaker
from headrace.policies.choosing import Ask, Balancer, Candidate
from headrace.policies.health import is_panic, is_worth_waiting, may_eject

_STALE = -1
"""A permit that no breaker ever gave: what becomes of its call changes nothing."""


class Placement:
    """The endpoints of one gate, and why the last call could not be placed.

    Args:
        sites: the endpoints that take calls.
        listener: told of breakers that move.
        balancer: chooses among several.

    Invariant: permits are taken all or none.
    """

    def __init__(
        self, sites: list[Site], listener: Listener, balancer: Balancer | None = None
    ) -> None:
        self.reason = SLOT
        self.bound = ""
        self.wake_at: float | None = None
        """When a call that could not be placed may be looked at again."""
        self.behind = False
        """Is it for a call behind a head? Then the slots of heads are left to them."""
        self._listener = listener
        self._balancer: Balancer = balancer or Headroom()
        self._tiers: Mapping[int, float] = {}
        self.use(sites)

    def use(self, sites: list[Site]) -> None:
        """From now on calls go to these sites, at least one."""
        self.sites = sites
        self._only = sites[0] if len(sites) == 1 else None
        self.has_choice = self._only is None
        """Is there more than one endpoint?"""
        self.is_picky = any(site.models for site in sites)
        """Are there models that not every endpoint serves?"""
        self._note_health()

    # ---- health of the pool

    def breaker_moved(self, site: Site) -> None:
        """Tell the listener what an endpoint's breaker has come to."""
        breaker = site.breaker
        self._note_health()
        self._listener(BreakerMoved(site.endpoint.name, breaker.state, breaker.reason))

    def may_eject(self) -> bool:
        """May one more endpoint be cut off that answers now and then?"""
        return may_eject(self._soft, len(self.sites))

    def _note_health(self) -> None:
        sites = self.sites
        sick = [s for s in sites if s.breaker.state != "closed"]
        self._soft = sum(not s.breaker.is_hard for s in sick)
        self._sick = len(sick)
        self._is_panic = is_panic(len(sites) - len(sick), len(sites))
        if self._balancer.needs_tiers:
            self._tiers = _tiers(sites)

    def has_other(self, tried: set[str], model: str) -> bool:
        """Is an endpoint well that serves `model` and is none of `tried`?"""
        return self.has_choice and any(
            site.breaker.state == "closed"
            and site.endpoint.name not in tried
            and site.serves(model)
            for site in self.sites
        )

    # ---- places

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
        """Place on the endpoint that the strategy chooses of those that may be used."""
        # In a busy pool nearly all are full: they are not looked at one by one.
        room = [s for s in self.sites if s.in_flight < s.limit.value]
        self.reason, self.bound = self._why_full(room, ticket.call.model), ""
        if not room:
            return False
        free = [s for s in room if self._is_eligible(s, ticket, now)]
        if ticket.call.trace.tries and len(free) > 1:
            failed = ticket.call.trace.endpoint
            free = [s for s in free if s.endpoint.name != failed]
        if self._sick and self._probe(free, ticket, now):
            return True
        free = [s for s in free if not s.breaker.is_due(now)] if self._sick else free
        site = self._chosen(free, ticket, now)
        return site is not None and self._take(site, ticket, now)

    def _why_full(self, room: Sequence[Site], model: str) -> int:
        """Return what a call waits for if none of these takes it: a slot, or health."""
        if len(room) == len(self.sites):
            return ENDPOINT
        if not self.is_picky:
            return SLOT
        full = [s for s in self.sites if s.in_flight >= s.limit.value]
        return SLOT if any(s.serves(model) for s in full) else ENDPOINT

    def _probe(self, free: Sequence[Site], ticket: Ticket, now: float) -> bool:
        """Send the call to an endpoint that is to be tried again, if there is one.

        No strategy would choose it for sure, and nobody else finds out if it is well.
        """
        for site in free:
            if site.breaker.is_due(now) and self._take(site, ticket, now):
                return True
        return False

    def may_start(self, site: Site, ticket: Ticket, now: float) -> bool:
        """May this call start here now? If not, note when to look again."""
        return self._is_eligible(site, ticket, now)

    def _chosen(self, free: Sequence[Site], ticket: Ticket, now: float) -> Site | None:
        while free:
            candidates = [_candidate(site, ticket.call, now) for site in free]
            ask = Ask(ticket.gate.clock.uniform(), ticket.call.affinity, self._tiers)
            self._balancer, place = self._balancer.choose(candidates, ask)
            self.reason, self.bound = SLOT, ""
            if place is None:
                break
            site = free[place]
            if not (
                self._balancer.prefers_fast and self._is_too_slow(site, ticket, now)
            ):
                return site
            # A slow one that is idle looks roomier than a fast one nearly full.
            free = [other for other in free if other is not site]
        return None

    def _is_too_slow(self, site: Site, ticket: Ticket, now: float) -> bool:
        """Would the call end sooner if it waited for a slot of a faster endpoint?"""
        latency = site.latency
        if not latency.is_sure() or latency.is_due(now, site.in_flight):
            return False
        slow_s, fast_s, per_s = latency.mean_s, latency.mean_s, 0.0
        for other in self.sites:
            known = other.latency
            if known.mean_s * 2.0 > slow_s or not known.is_sure() or other is site:
                continue
            if self._is_busy(other, ticket, now):
                fast_s = min(fast_s, known.mean_s)
                per_s += other.in_flight / known.mean_s
        if not per_s:
            return False
        ahead = ticket.gate.waiting + ticket.gate.backlog + 1
        return is_worth_waiting(slow_s, fast_s, ahead / per_s)

    def _is_busy(self, site: Site, ticket: Ticket, now: float) -> bool:
        """Is nothing in the way of a call here but other calls in flight?"""
        call = ticket.call
        if not site.in_flight or site.breaker.state != "closed" or site.pauses:
            return False
        if not site.serves(call.model) or call.avoid == site.endpoint.name:
            return False
        has_rates = bool(site.rate.dims or site.learnt)
        return not has_rates or site.rate_at(call, ticket.tokens, now) <= now

    def _is_eligible(self, site: Site, ticket: Ticket, now: float) -> bool:
        """May this call start here now? If not, note why and when to look again."""
        call = ticket.call
        if call.avoid and site.endpoint.name == call.avoid:
            return False
        if site.models and not site.serves(call.model):
            return False
        if site.pauses and self._is_paused(site, call.model, now):
            return False
        if not site.has_slot(behind=self.behind) or (
            now < site.warm_at and self._is_cold(site, now)
        ):
            self._note(SLOT, "")
            return False
        if (site.rate.dims or site.learnt) and not self._rate_allows(site, ticket, now):
            return False
        return site.breaker.state == "closed" or self._is_well(site, now)

    def _is_cold(self, site: Site, now: float) -> bool:
        """Does its slow start allow no more calls here yet?"""
        if self._only is site or site.in_flight < site.limit.value * site.warmth(now):
            return False
        self.wake(now + 1.0)
        return True

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
        """May a call go to this endpoint that is cut off, or being probed?"""
        breaker = site.breaker
        if breaker.is_due(now) or self._is_needed(breaker):
            return True
        if breaker.retry_at is not None:
            self.wake(breaker.retry_at)
        return False

    def _is_needed(self, breaker: Breaker) -> bool:
        return self._is_panic and not breaker.is_hard

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
        """Ask the endpoint's breaker for a permit; if refused, note when to ask again.

        In a pool in need, an endpoint that is cut off but answers now and then takes
        calls beside its probes; what becomes of them does not move its breaker.
        """
        before = site.breaker
        if before.state == "closed":
            ticket.permit = before.generation
            return True
        site.breaker, permit = before.admit(now)
        if site.breaker.state != before.state:
            self.breaker_moved(site)
        if permit is None:
            if self._is_needed(before):
                ticket.permit = _STALE
                return True
            if before.retry_at is not None:
                self.wake(before.retry_at)
            return False
        ticket.permit = permit
        return True

    def _note(self, reason: int, bound: str) -> None:
        """Remember the weakest reason: a slot before a rate before health."""
        if self.reason == ENDPOINT or reason == SLOT:
            self.reason, self.bound = reason, bound

    def check_fits(self, call: Call, tokens: int) -> None:
        """Refuse a call that no endpoint could ever take.

        Raises:
            LimitExceeded: it costs more than the limits of all could ever hold.
            Unserved: nobody serves its model.
        """
        only = self._only
        if (
            only is not None
            and tokens <= only.rate.terms.most_tokens
            and only.serves(call.model)
        ):
            return  # nearly always
        serving = [s for s in self.sites if s.serves(call.model)]
        if not serving:
            known = sorted({model for s in self.sites for model in s.models})
            raise Unserved(
                f"call {call.id} asks for the model {call.model!r}, which no endpoint "
                f"serves; those that are served: {', '.join(known)}"
            )
        for site in serving:
            if tokens <= site.rate.terms.most_tokens:
                return
        tight = serving[0].rate_fits(call, tokens)
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


def _candidate(site: Site, call: Call, now: float) -> Candidate:
    in_flight, endpoint, limit = site.in_flight, site.endpoint, site.limit
    cold = now < site.warm_at
    return Candidate(
        site.index,
        endpoint.name,
        in_flight,
        limit.value,
        site.rate_headroom(call, now) if site.rate.dims or site.learnt else 1.0,
        endpoint.weight * site.warmth(now) if cold else endpoint.weight,
        site.latency.value(now, in_flight),
        limit.learns,
        site.breaker.success_share,
        endpoint.tier,
    )


def _tiers(sites: Sequence[Site]) -> dict[int, float]:
    """Return the share of each tier that is well."""
    well: dict[int, list[bool]] = {}
    for site in sites:
        found = well.setdefault(site.endpoint.tier, [])
        found.append(site.breaker.state == "closed")
    return {tier: sum(found) / len(found) for tier, found in well.items()}


def _may_try(site: Site, ticket: Ticket, now: float) -> bool:
    """Is nothing but the rate in the way on this endpoint?"""
    call = ticket.call
    if not site.serves(call.model):
        return False
    if site.rate_fits(call, ticket.tokens) or site.paused_until(call.model, now):
        return False
    if site.waits_for_learnt(call, ticket.tokens, now):
        return False
    return site.breaker.state != "open"
