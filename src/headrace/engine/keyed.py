"""The limits and budgets of keys around the calls made with them.

A call without a key, or with one that has neither, passes for one look into a dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import Crew
from headrace.engine.keymeters import KeyMeters
from headrace.engine.keypurses import OF_KEY, KeyPurses, Ledger
from headrace.engine.streaming import at_end
from headrace.errors import BudgetSpent
from headrace.jobs import Flow
from headrace.model import Call, Handler, Layer, Reply
from headrace.policies.budget import NO_PRICE
from headrace.terms import KeyBudget, KeyLimits, KeyTerms

FindTerms = Callable[[str], Awaitable[KeyTerms | None]]
"""Gives the terms of a key as they are now; None = it has none."""
MostNano = Callable[[Call], int | None]
"""Gives the most that a call may cost, in nano-dollars; None = no price is known."""
Held = Callable[[], Counter[str]]
"""Counts the leased items that have not ended, by key."""
_NO_LIMITS = KeyLimits()


class Portions(msgspec.Struct):
    """How many items may be leased of jobs whose keys have limits."""

    flows: list[Flow]
    """Those of which any may."""
    room: dict[str, int]
    """By key."""
    turn: int = 0
    """Grows by one each time, so that remainders go round."""

    def cut(self, wants: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return how many items to lease of each job, no more than its key may have.

        The jobs of one key share its room in the proportion in which they want some.
        """
        if not self.room:
            return list(wants)
        keys = {flow.job: flow.key for flow in self.flows}
        counts = dict(wants)
        for key, room in self.room.items():
            mine = [(job, count) for job, count in wants if keys[job] == key]
            counts.update(self._shared(mine, room))
        return [(job, counts[job]) for job, _ in wants if counts[job]]

    def _shared(
        self, wants: Sequence[tuple[int, int]], room: int
    ) -> list[tuple[int, int]]:
        total = sum(count for _, count in wants)
        if total <= room:
            return list(wants)
        shares = [(job, count * room // total) for job, count in wants]
        left = room - sum(share for _, share in shares)
        start = self.turn % len(shares)
        return [
            (job, share + ((place - start) % len(shares) < left))
            for place, (job, share) in enumerate(shares)
        ]


class Keyed:
    """Keys in one process: what binds them, and what is under way with them.

    Args:
        find: see `FindTerms`.
        ledger: remembers what is spent.
        clock: time.
    """

    def __init__(self, find: FindTerms, ledger: Ledger, clock: Clock) -> None:
        self.meters = KeyMeters(clock)
        self.purses = KeyPurses(ledger, clock)
        self._find = find
        self._ledger = ledger
        self._clock = clock
        self._turn = 0
        self._limits: dict[str, KeyLimits] = {}
        self._budgets: dict[str, KeyBudget] = {}

    def know(self, key: str, terms: KeyTerms | None) -> None:
        """From now on these are the terms of a key."""
        limits = None if terms is None else terms.limits
        budget = None if terms is None else terms.budget
        if limits is None or limits == _NO_LIMITS:
            self._limits.pop(key, None)
        else:
            self._limits[key] = limits
        if budget is None:
            self._budgets.pop(key, None)
        else:
            self._budgets[key] = budget

    async def portions(self, flows: Sequence[Flow], held: Held) -> Portions:
        """Learn the terms of the keys of jobs; return what may be leased of them."""
        keys = {flow.key for flow in flows if flow.key}
        for key in keys:
            self.know(key, await self._find(key))
        limited = keys & self._limits.keys()
        if not limited:
            return Portions(list(flows), {})
        count = held()
        room = {
            key: self.meters.room(key, self._limits[key], count[key]) for key in limited
        }
        self._turn += 1
        may = [flow for flow in flows if room.get(flow.key, 1) > 0]
        return Portions(may, room, self._turn)

    def limiting(self, crew: Crew) -> Layer:
        """Return the layer around an item that waits for the limits of its key."""

        def layer(handler: Handler) -> Handler:
            async def limited(call: Call, limits: KeyLimits) -> Reply:
                came_at = self._clock.monotonic()
                tokens = call.cost.tokens
                leave = await self.meters.enter(call.key, limits, tokens, crew)
                # It waits for its turn as it would in the store, had it not been leased.
                call.trace.queued_s += self._clock.monotonic() - came_at
                return await _ended(handler, call, leave)

            def handle(call: Call) -> Awaitable[Reply]:
                limits = self._limits.get(call.key) if call.key else None
                return handler(call) if limits is None else limited(call, limits)

            return handle

        return layer

    def paying(self, most_nano: MostNano) -> Layer:
        """Return the layer around each try that pays for it; see `budgeting`, inside."""

        def layer(handler: Handler) -> Handler:
            async def paid(call: Call, budget: KeyBudget) -> Reply:
                nano = most_nano(call)
                if nano is None:
                    raise BudgetSpent(
                        f"{OF_KEY} {call.key}: {NO_PRICE} for model {call.model!r}, so "
                        "nothing of it is sent; the service must be told one"
                    )
                try:
                    hold = await self.purses.take(call.key, budget, nano)
                except BudgetSpent:
                    if call.job:
                        await self._ledger.await_money(call.key, call.job, nano)
                    raise
                before = max(0, call.trace.cost_nano)

                def settle() -> None:
                    cost = max(0, call.trace.cost_nano) - before
                    self.purses.settle(hold, cost)

                return await _ended(handler, call, settle)

            def handle(call: Call) -> Awaitable[Reply]:
                budget = self._budgets.get(call.key) if call.key else None
                return handler(call) if budget is None else paid(call, budget)

            return handle

        return layer


async def _ended(handler: Handler, call: Call, end: Callable[[], None]) -> Reply:
    """Make a call, and call `end` once when it is over, a streamed answer included."""
    try:
        reply = await handler(call)
    except BaseException:
        end()
        raise
    return at_end(reply, end)
