"""Decides who goes next, where, and when: the one place where calls wait.

```
admit ──► nobody waits and there is room ──────────────► ticket
   └────► queue (priority, fairness, age) ──► pump ──► ticket
                         ▲ slot freed · rate ticket due · pause over · probe due
```

Only the first call in order of a lane (one model) may hold a rate reservation in the
future, and gives it back when a more urgent call comes. Calls behind it go first only if
it starts no later for that (`backfilling`). Waiting ends by events only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace.clock import Clock
from headrace.engine.backfilling import Backfill
from headrace.engine.lane import CLASS_WEIGHTS, RATE, SLOT, Lane
from headrace.engine.lanes import Lanes
from headrace.engine.placing import Placement
from headrace.engine.shedding import Shedding
from headrace.engine.shutdown import Drained
from headrace.engine.site import Site, SiteMaker
from headrace.engine.siterates import LATENESS_S
from headrace.engine.ticket import Admission, Ticket
from headrace.errors import LimitExceeded
from headrace.events import EndpointView, Listener
from headrace.model import Call, Endpoint
from headrace.policies.choosing import Balancer


class Gate:
    """Admits calls to a pool of endpoints within all their limits.

    Args:
        endpoints: where calls may go, at least one, in the user's order.
        clock: time and chance.
        listener: told of breakers that move.
        probe_timeout_s: how long a probe of a sick endpoint may take.
        load: reads what share of this machine's CPUs is in use, 0 to 1; must not block.
        balancer: chooses among several endpoints.

    Invariant: calls in flight, calls started and tokens reserved never exceed the
    limits of an endpoint; each admission is settled exactly once.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        clock: Clock,
        listener: Listener,
        probe_timeout_s: float = 600.0,
        load: Callable[[], float] | None = None,
        balancer: Balancer | None = None,
    ) -> None:
        if not endpoints:
            raise ValueError("a gate needs at least one endpoint")
        self.maker = SiteMaker(probe_timeout_s, load)
        self.sites = [self.maker.make(endpoint) for endpoint in endpoints]
        """Endpoints that take calls."""
        self.leaving: list[Site] = []
        """Those that take none any more, while their calls end; or drained."""
        self.clock = clock
        self.placement = Placement(self.sites, listener, balancer)
        self.backfill = Backfill(self.placement)
        self.waiting = 0
        self.backlog = 0
        """About how many calls will come that wait elsewhere yet."""
        self.capacity = sum(site.limit.value for site in self.sites)
        """Calls that may be in flight at once, over all endpoints."""
        self.capacity_moved: Callable[[int], None] = _unheard
        """Told of the new `capacity` whenever it has moved."""
        self.lanes = Lanes()
        self.shedding: Shedding | None = None
        """None: any number of calls may wait."""
        self._drained = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def admit(self, call: Call) -> Admission:
        """Return what to enter with `async with`: it waits for all permits.

        Raises (on entering):
            LimitExceeded: the call costs more than every endpoint's limit could hold.
            QueueFull: as many calls wait as may.
            Drained: nothing is admitted any more.
        """
        return Admission(self, call)

    @property
    def in_flight(self) -> int:
        return sum(site.in_flight for site in (*self.sites, *self.leaving))

    def views(self) -> tuple[EndpointView, ...]:
        """Return how each endpoint stands, in the user's order; those leaving last."""
        now = self.clock.monotonic()
        return tuple(site.view(now) for site in (*self.sites, *self.leaving))

    def use(self, sites: list[Site]) -> None:
        """From now on calls start at these endpoints only, at least one.

        Calls under way elsewhere end there. A waiting call that none of these could
        ever take is refused, as if it came now.
        """
        now = self.clock.monotonic()
        self.sites = sites
        self.placement.use(sites)
        self.count_capacity()
        for lane in self.lanes:
            self.waiting -= lane.refuse(self.placement.check_fits, now)
        self._pump(now)

    def binding(self) -> str:
        """Return what holds the calls back now; `none` if nobody waits.

        `calls` or `tokens` for a rate, `in_flight` for a slot, `endpoint` for health.
        """
        return self.lanes.binding()

    # ---- what tickets ask for

    def enter(self, call: Call) -> Ticket:
        """Give `call` all permits at once, or a place in the queue; never waits.

        Whoever enters ends the ticket with `succeeded`, `failed` or `broke_off`, also
        when the wait for its turn is cancelled. Prefer `admit`, which does all that.

        Raises:
            LimitExceeded, QueueFull, Drained: as `admit`; nothing is held.
        """
        tokens = call.cost.tokens
        placement = self.placement
        if tokens or placement.is_picky:
            placement.check_fits(call, tokens)
        if self._drained:
            raise Drained
        now = self.clock.monotonic()
        ticket = Ticket(self, call, tokens, now, now)
        if not self.waiting:
            placement.wake_at = None
            if placement.place(ticket, now):
                return ticket
        if call.avoid:
            raise LimitExceeded("no other endpoint has room for a second call now")
        if self.shedding is not None:
            self.shedding.check(call, self.waiting, self.lanes.direct_calls, now)
        self._enqueue(ticket, now)
        return ticket

    def _enqueue(self, ticket: Ticket, now: float) -> None:
        call = ticket.call
        lane = self.lanes.only
        if lane is None or lane.model != call.model:
            lane = self.lanes.of(call.model, now)
        queue, spell = lane.queue, lane.spell
        is_first = not queue.size
        if is_first:
            lane.passed = self.lanes.least_passed()
        ticket.turn = asyncio.get_running_loop().create_future()
        ticket.lane, ticket.spell = lane, spell
        retried = call.trace.tries > 0
        queue.push(ticket, call.flow, call.priority, ticket.tokens, now, front=retried)
        self.waiting += 1
        lane.joined(ticket)
        if self.waiting == 1:
            self._note_why(lane, ticket, now)
            self._arm()
        elif is_first or spell.reason != SLOT or self.placement.has_room():
            # Else a slot is waited for: who joins changes nothing until one is free.
            self._look_at(lane, ticket, now)

    def _look_at(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Let a call go at once that has come to wait, if it may; others may not."""
        if lane.queue.peek(now) is ticket:
            self._pump(now)
        elif self.backfill.admits(lane, ticket, now):
            lane.queue.take(ticket, now)
            self._hand_over(lane, ticket, now)
            self._arm()
        elif self._timer is None or self.placement.wake_at != self._timer_at:
            self._arm()

    def leave(self, ticket: Ticket) -> None:
        """Take a waiting ticket out of the queue; what it reserved is given back."""
        lane = ticket.lane
        assert lane is not None
        now = self.clock.monotonic()
        ticket.lane = None
        lane.book(ticket, now)
        if lane.head is ticket:
            lane.give_back()
        lane.queue.discard(ticket)
        self.waiting -= 1
        self._pump(now)

    def ended(self, site: Site, now: float) -> None:
        """A call on `site` ended and its permits are back: let the next one go."""
        site.in_flight = left = site.in_flight - 1
        if self.shedding is not None:
            self.shedding.ended(now)
        if not left and site.emptied is not None:
            site.emptied.set()
        if self.waiting:
            self._pump(now)

    def look_again(self) -> None:
        """An endpoint may take calls sooner than was said: place who waits anew."""
        self._pump(self.clock.monotonic())

    def count_capacity(self) -> None:
        """A limit has moved: count anew how many calls may be in flight."""
        capacity = sum(site.limit.value for site in self.sites)
        if capacity != self.capacity:
            self.capacity = capacity
            self.capacity_moved(capacity)

    def correct_share(self, call: Call, more: float) -> None:
        """Charge a call's flow `more` tokens than were estimated; < 0 gives back."""
        lane = self.lanes.find(call.model)
        if lane is not None:
            lane.queue.correct(call.flow, call.priority, more)

    def withdraw(self, endpoint: str, cost: float) -> float:
        """Pay for a retry from an endpoint's budget; return seconds to wait first."""
        for site in self.sites:
            if site.endpoint.name == endpoint:
                now = self.clock.monotonic()
                site.budget, wait_s = site.budget.withdraw(now, cost)
                return wait_s
        return 0.0

    def drain(self) -> None:
        """Send home whoever waits or comes later: their admission raises `Drained`."""
        self._drained = True
        now = self.clock.monotonic()
        for lane in self.lanes:
            lane.give_back()
            while (ticket := lane.queue.pop(now)) is not None:
                self.waiting -= 1
                ticket.lane = None
                if ticket.turn is not None and not ticket.turn.done():
                    ticket.turn.set_exception(Drained())

    # ---- the pump

    def _pump(self, now: float) -> None:
        """Hand permits to waiting calls, in order, until none may start now."""
        placement, lane = self.placement, self.lanes.only
        placement.wake_at = None
        if lane is None:
            self._pump_lanes(now)
        else:
            while lane.queue.size and self._advance_lane(lane, now):
                pass
            # As `Backfill.concerns`, which is asked for each call that ends.
            if lane.queue.size > 1 and (lane.head_site or placement.has_choice):
                self._fill(lane, now)
        if self._timer is not None or placement.wake_at is not None:
            self._arm()

    def _pump_lanes(self, now: float) -> None:
        ready = self.lanes.waiting()
        while ready:
            lane = min(ready, key=_passed)
            if not self._advance_lane(lane, now) or not lane.queue.size:
                ready.remove(lane)
        concerns = self.backfill.concerns
        behind = [x for x in self.lanes if x.queue.size > 1 and concerns(x)]
        for lane in sorted(behind, key=_passed):
            self._fill(lane, now)
        self.lanes.tidy()

    def _fill(self, lane: Lane, now: float) -> None:
        """Let go whom the waiting head of a lane need not hold up."""
        while (ticket := self.backfill.next_of(lane, now)) is not None:
            lane.queue.take(ticket, now)
            self._hand_over(lane, ticket, now)

    def _advance_lane(self, lane: Lane, now: float) -> bool:
        """Let the first call of a lane go; return whether the next one may try."""
        placement = self.placement
        ticket = lane.queue.peek(now)
        if ticket is None:
            return False
        if lane.head is not None and self._start_held(lane, ticket, now):
            return True
        if not placement.place(ticket, now):
            self._note_why(lane, ticket, now)
            return False
        if lane.head is not None:
            lane.give_back()
        lane.queue.pop(now)
        self._hand_over(lane, ticket, now)
        if placement.has_room():
            return True
        if lane.spell.reason != SLOT:
            lane.wait_for(SLOT, "", now)
        return False

    def _start_held(self, lane: Lane, ticket: Ticket, now: float) -> bool:
        """Start the head on its reservation, or give that back if it is of no use."""
        if lane.head is ticket and self._redeem(lane, ticket, now):
            lane.queue.pop(now)
            self._hand_over(lane, ticket, now)
            return True
        if lane.head is not ticket or lane.head_hold.start_at <= now:
            lane.give_back()
        return False

    def _note_why(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Book why the head of a lane waits; hold its rate start if that is why."""
        placement = self.placement
        if lane.head is None:
            lane.wait_for(placement.reason, placement.bound, now)
            if placement.reason == RATE or len(self.sites) > 1:
                self._reserve(lane, ticket, now)
        elif placement.wake_at is not None and placement.wake_at < lane.head_due_at:
            self._reserve_earlier(lane, ticket, now)
        if lane.head is not None:
            placement.wake(lane.head_hold.start_at)

    def _hand_over(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Tell a call that it has its permits; it is out of the queue."""
        lane.passed += 1.0 / CLASS_WEIGHTS[ticket.call.priority]
        lane.book(ticket, now)
        self.waiting -= 1
        ticket.lane = None
        ticket.started_at = now
        turn = ticket.turn
        assert turn is not None
        if not turn.done():
            turn.set_result(None)

    # ---- the head's reservation

    def _reserve(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Hold the earliest start of all endpoints where only the rate is in the way."""
        placement = self.placement
        site = placement.earliest(ticket, now)
        if site is not None and (
            placement.reason == RATE
            or site.rate_at(ticket.call, ticket.tokens, now) > now
        ):
            lane.hold(ticket, site, now)

    def _reserve_earlier(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Move the head's reservation to an endpoint that has become the better one."""
        site = self.placement.earliest(ticket, now)
        if site is None or site is lane.head_site or site.breaker.state != "closed":
            return
        at = site.rate_at(ticket.call, ticket.tokens, now)
        if now < at < lane.head_due_at - LATENESS_S:
            lane.give_back()
            lane.hold(ticket, site, now)

    def _redeem(self, lane: Lane, ticket: Ticket, now: float) -> bool:
        """Start the head on its reservation if its time is here and all else is free."""
        site, hold = lane.head_site, lane.head_hold
        if site is None or not 0 <= now - hold.start_at <= LATENESS_S:
            return False
        if not site.has_slot() or site.paused_until(ticket.call.model, now):
            return False
        if not self.placement.admit_breaker(site, ticket, now):
            return False
        lane.let_go()
        self.placement.start(site, ticket, hold)
        return True

    # ---- the timer

    def _arm(self) -> None:
        """Set the one timer to the next moment that can change an answer."""
        at = self.placement.wake_at
        if at is None or not self.waiting:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        if self._timer is not None:
            if self._timer_at == at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pump(self.clock.monotonic())


def _unheard(_capacity: int) -> None:
    """Nobody wants to know."""


def _passed(lane: Lane) -> float:
    return lane.passed
