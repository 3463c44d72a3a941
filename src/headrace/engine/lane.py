"""The calls of one model that wait at one gate, and why they wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush

import msgspec

from headrace.engine.site import Site
from headrace.engine.siterates import NO_HOLD, Snapshot
from headrace.engine.ticket import Ticket
from headrace.errors import Rejected
from headrace.model import Call
from headrace.policies.admission import FairQueue

RATE, SLOT, ENDPOINT = 0, 1, 2
"""Why the head of a lane waits."""

CLASS_WEIGHTS = (10.0, 15.0, 25.0, 50.0)
"""Shares of the priorities low to urgent when lanes compete for one slot."""


class Spell(msgspec.Struct, frozen=True, gc=False):
    """A time in which the head of a lane waited for one and the same thing."""

    reason: int
    since: float
    rate_s: float = 0.0
    """Seconds for which the lane had waited for its rate before; so the others."""
    slot_s: float = 0.0
    endpoint_s: float = 0.0

    def waited(self, now: float) -> tuple[float, float, float]:
        """Return the seconds the lane has waited, for rate, slot and endpoint."""
        spent_s = now - self.since
        return (
            self.rate_s + (spent_s if self.reason == RATE else 0.0),
            self.slot_s + (spent_s if self.reason == SLOT else 0.0),
            self.endpoint_s + (spent_s if self.reason == ENDPOINT else 0.0),
        )


class Bar(msgspec.Struct, frozen=True, gc=False):
    """What is known of those behind the head: none may go while this holds."""

    rates: Snapshot
    """Of the head's endpoint."""
    held: int
    """Heads that hold a reservation there."""
    tokens: float
    """Who costs less, and came later, may yet."""
    until: float
    """When the rates alone let the cheapest go; inf: the head would start later."""


class Lane:
    """The calls of one model that wait at one gate."""

    __slots__ = (
        "bar",
        "bound",
        "cheap",
        "head",
        "head_due_at",
        "head_hold",
        "head_site",
        "least",
        "model",
        "passed",
        "queue",
        "spell",
    )

    def __init__(
        self, model: str, now: float, debts: Mapping[str, float] | None = None
    ) -> None:
        self.model = model
        self.queue: FairQueue[Ticket] = FairQueue(debts=debts)
        self.head: Ticket | None = None
        """The waiting call that holds a rate reservation."""
        self.head_site: Site | None = None
        self.head_hold = NO_HOLD
        self.head_due_at = 0.0
        """When it starts by its first reservation; nobody may move that."""
        self.bar: Bar | None = None
        self.least = 0
        """No call has come since the lane was empty that costs less."""
        self.cheap: list[tuple[int, int, Ticket]] | None = None
        """Waiting calls by cost, with those gone; kept once it was asked for."""
        self.spell = Spell(SLOT, now)
        """What the head waits for now."""
        self.bound = ""
        """Which rate, if it waits for that."""
        self.passed = 0.0

    def wait_for(self, reason: int, bound: str, now: float) -> None:
        """From now on the head of the lane waits for this."""
        self.bound = bound
        if reason != self.spell.reason:
            self.spell = Spell(reason, now, *self.spell.waited(now))

    def book(self, ticket: Ticket, now: float) -> None:
        """Note where the time of a call went that has waited here until now."""
        trace, spell, asked_at = ticket.call.trace, self.spell, ticket.asked_at
        if ticket.spell is spell and spell.reason == SLOT:  # nearly always
            trace.slot_s += now - asked_at
            return
        assert ticket.spell is not None
        after, before = spell.waited(now), ticket.spell.waited(asked_at)
        trace.rate_s += after[RATE] - before[RATE]
        trace.slot_s += after[SLOT] - before[SLOT]
        trace.endpoint_s += after[ENDPOINT] - before[ENDPOINT]

    def joined(self, ticket: Ticket) -> None:
        """Note the cost of a call that comes to wait; it is in the queue already."""
        tokens = ticket.tokens
        if self.queue.size == 1:
            self.least, self.cheap = tokens, None
        elif tokens < self.least:
            self.least = tokens
        if self.cheap is not None:
            heappush(self.cheap, (tokens, id(ticket), ticket))

    def cheapest_behind(self, head: Ticket) -> Ticket | None:
        """Return the cheapest call that waits here, the head left out."""
        cheap = self.cheap
        if cheap is None or len(cheap) > 2 * self.queue.size + 64:
            cheap = self.cheap = [(t.tokens, id(t), t) for t in self.queue]
            heapify(cheap)
        aside = None
        while cheap and (cheap[0][2].lane is not self or cheap[0][2] is head):
            gone = heappop(cheap)
            aside = gone if gone[2] is head else aside
        found = cheap[0][2] if cheap else None
        if aside is not None:
            heappush(cheap, aside)
        return found

    def hold(self, ticket: Ticket, site: Site, now: float) -> None:
        """Reserve the earliest rate start at `site` for the first call in order."""
        self.head = ticket
        self.head_site = site
        self.head_hold = site.reserve(ticket.call, ticket.tokens, now)
        self.head_due_at = self.head_hold.start_at
        self.bar = None
        site.held += 1

    def give_back(self) -> None:
        """Give the head's reservation back unused; idempotent."""
        if self.head_site is not None:
            self.head_site.give_back(self.head_hold)
        self.let_go()

    def refuse(self, check: Callable[[Call, int], None], now: float) -> int:
        """Refuse the waiting calls that `check` refuses, and give back what is held.

        Returns:
            How many they are.
        """
        self.give_back()
        refused = 0
        for ticket in list(self.queue):
            try:
                check(ticket.call, ticket.tokens)
            except Rejected as error:
                refused += 1
                self.queue.discard(ticket)
                self.book(ticket, now)
                ticket.lane = None
                if ticket.turn is not None and not ticket.turn.done():
                    ticket.turn.set_exception(error)
        return refused

    def let_go(self) -> None:
        """The head holds its reservation no more: it starts, or gave it back."""
        if self.head_site is not None:
            self.head_site.held -= 1
        self.head = self.head_site = self.bar = None
