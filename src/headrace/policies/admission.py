"""Who goes next: shares between priorities, fairness between tenants, then their jobs.

```
FairQueue ─► 4 classes (urgent 50, high 25, normal 15, low 10 % when all wait)
                └─► tenants, alike ─► jobs, alike ─► entries, first in first out
```

All levels are start-time fair queueing (`fair_order`). Two levels below the class and
not one with weights: a tenant that opens a job for each call would else start a new flow
at the present virtual time with each, and never pay. An entry that has waited for
`age_step_s` also counts in the class above, where all such entries together are one
flow.
Source: shares and ageing from k8s API priority and fairness, and VTC, arXiv 2401.00588.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from headrace.model import Priority
from headrace.policies.fair_order import SLACK, merged
from headrace.policies.rank import Rank, Waiting

T = TypeVar("T")

SHARES = {
    Priority.URGENT: 0.50,
    Priority.HIGH: 0.25,
    Priority.NORMAL: 0.15,
    Priority.LOW: 0.10,
}
_BURST = 8
"""So many calls of a class that did not wait go before all below it.

It cannot be had again before they have been served: shares hold in the long run.
"""
_LEAST_COST = 1.0
"""A call costs something even where nothing is counted; else tags would not move."""


class FairQueue(Generic[T]):
    """Entries that wait, in the order in which they should go.

    Knows no time of its own: `now` is monotonic seconds and never goes back. Entries
    are told apart by identity; one may be in the queue once at a time.

    Args:
        age_step_s: seconds after which an entry counts one class up too.
        debts: what tenants owe from before, as `debts` gave it.

    Invariants: while two tenants of one class wait, what they were served differs by at
    most the sum of their largest costs, and so for the jobs of one tenant; a
    class that waits gets its share; what is left is shared by those that wait.
    """

    def __init__(
        self, age_step_s: float = 60.0, debts: Mapping[str, float] | None = None
    ) -> None:
        self._age_step_s = age_step_s
        self._virtual = 0.0
        below: Rank[T] | None = None
        classes: list[Rank[T]] = []
        for priority in sorted(SHARES):
            below = Rank(SHARES[priority], below)
            below.finish = -math.inf
            classes.append(below)
        self._by_priority = classes
        self._urgent_first = classes[::-1]
        self._recent = classes[0]
        """The class last pushed to: often the only one that waits."""
        self._places: dict[int, Waiting[T]] = {}
        self.size = 0
        """Entries that wait; a field, as the gate asks all the time."""
        self._chosen: tuple[Waiting[T], Rank[T]] | None = None
        self._valid_until = 0.0
        for key, debt in (debts or {}).items():
            word, _, tenant = key.partition("/")
            home = classes[Priority.parse(word)]
            home.tenant(tenant).finish = max(0.0, debt)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[T]:
        """Yield whatever waits, in no order; nothing may change meanwhile."""
        return (place.entry for place in self._places.values())

    def push(
        self,
        entry: T,
        flow: str,
        priority: Priority,
        cost: float,
        now: float,
        *,
        front: bool = False,
    ) -> None:
        """Let `entry` wait.

        Args:
            entry: anything; compared by identity.
            flow: who asks: `tenant/job`, or a name that stands for itself.
            priority: its class.
            cost: tokens or calls it is expected to take; less than 1 counts as 1.
            now: monotonic seconds.
            front: go before all others of its own flow, as a retry does.

        Raises:
            ValueError: `entry` waits already.
        """
        places, name = self._places, id(entry)
        if name in places:
            raise ValueError(f"{entry!r} waits already")
        home = self._by_priority[priority]
        asker = home.flows.get(flow) or home.new_flow(flow)
        tenant = asker.tenant
        if cost < _LEAST_COST:
            cost = _LEAST_COST
        places[name] = place = Waiting(entry, asker, cost, now)
        if front:
            asker.line.appendleft(place)
        else:
            asker.line.append(place)
        home.arrivals.append(place)
        if not home.live:
            home.oldest_at = now
            self._awake(home, cost)
        self._recent = home
        self.size += 1
        home.live += 1
        asker.live += 1
        tenant.live += 1
        if asker.live == 1:
            tenant.jobs.join(asker)
            if tenant.live == 1:
                home.order.join(tenant)
        self._chosen = None

    def _awake(self, home: Rank[T], cost: float) -> None:
        """Let a class begin that did not wait: a few calls before those below it."""
        since, below = self._virtual, home.below
        while below is not None and not below.live:
            below = below.below
        if below is not None:
            since -= _BURST * cost / home.share
        if home.finish < since:
            home.finish = since

    def peek(self, now: float) -> T | None:
        """Return who is next, or None; asking again costs next to nothing."""
        chosen = self._chosen
        if chosen is None or now >= self._valid_until:
            chosen = self._chosen = self._choose(now)
        return None if chosen is None else chosen[0].entry

    def pop(self, now: float) -> T | None:
        """Take out and return who is next, or None."""
        chosen = self._chosen
        if chosen is None or now >= self._valid_until:
            chosen = self._choose(now)
            if chosen is None:
                return None
        place, payer = chosen
        flow, cost = place.flow, place.cost
        home = flow.home
        start = payer.finish
        if start > self._virtual:
            self._virtual = start
        elif not payer.live:
            start = self._virtual
        payer.finish = start + cost / payer.share + payer.debt
        payer.debt = 0.0
        if payer is not home:
            payer.aged_finish = max(payer.order.virtual, payer.aged_finish) + cost
        flow.line.popleft()
        self._remove(place)
        home.dispatched(flow, cost)
        return place.entry

    def ahead(self) -> Iterator[T]:
        """Yield those who wait, roughly in order; nothing may change meanwhile.

        Exact but for age, and for what a correction will add. The first k cost
        O(k log k).
        """
        lines = [
            (rank.finish, rank.share, rank.ahead())
            for rank in self._urgent_first
            if rank.live
        ]
        lines.sort(key=_start_of)
        return (place.entry for place in merged(iter(lines)))

    def take(self, entry: T, now: float) -> None:
        """Take out an entry before its turn; whoever is next stays next.

        Its job, tenant and class are charged as ever, but those of the next entry
        only when that one goes: else it would lose its turn to what went before it.

        Raises:
            KeyError: `entry` does not wait.
        """
        if self.peek(now) is entry:
            self.pop(now)
            return
        chosen = self._chosen
        assert chosen is not None
        first, payer = chosen
        place = self._places[id(entry)]
        flow, cost, home = place.flow, place.cost, place.flow.home
        until = self._valid_until
        self.discard(entry)
        if home is payer or home is first.flow.home:
            home.debt += cost / home.share
        else:
            home.finish = max(home.finish, self._virtual) + cost / home.share
        if flow.tenant is first.flow.tenant:
            home.order.charge(flow.tenant, cost)
            if not flow.live:
                flow.finish = flow.start
            flow.tenant.jobs.charge(flow, cost)
        else:
            home.dispatched(flow, cost)
        self._chosen, self._valid_until = chosen, until

    def debts(self) -> dict[str, float]:
        """Return how far each tenant is ahead of its part, by `priority/tenant`.

        In units of cost; who owes nothing is left out. A queue that starts
        with them serves the tenants on as this one would have.
        """
        found = {}
        for priority, home in enumerate(self._by_priority):
            name = Priority(priority).name.lower()
            for tenant in home.tenants.values():
                debt = tenant.finish + tenant.debt - home.order.virtual
                if debt > 0:
                    found[f"{name}/{tenant.key}"] = debt
        return found

    def discard(self, entry: T) -> None:
        """Take out an entry that waits no more; nothing happens if it is not here."""
        place = self._places.get(id(entry))
        if place is None or place.entry is not entry:
            return
        self._remove(place)
        line = place.flow.line
        if len(line) > 2 * place.flow.live + SLACK:
            place.flow.line = deque([p for p in line if not p.gone])

    def correct(self, flow: str, priority: Priority, delta_cost: float) -> None:
        """Charge what an entry that has gone cost beyond (or below) its estimate.

        It tells from the flow's next entry on; a flow that is forgotten owes nothing.
        """
        home = self._by_priority[priority]
        home.finish += delta_cost / home.share
        asker = home.flows.get(flow)
        if asker is None:
            return
        home.order.charge(asker.tenant, delta_cost)
        asker.tenant.jobs.charge(asker, delta_cost)
        self._chosen = None

    def _remove(self, place: Waiting[T]) -> None:
        place.gone = True
        flow = place.flow
        home = flow.home
        del self._places[id(place.entry)]
        self.size -= 1
        flow.live -= 1
        flow.tenant.live -= 1
        home.live -= 1
        arrivals = home.arrivals
        if arrivals[0] is place:  # as a rule who came first goes first
            arrivals.popleft()
        elif len(arrivals) > 2 * home.live + SLACK:
            home.arrivals = deque([p for p in arrivals if not p.gone])
        if not flow.live:
            flow.line.clear()
        self._chosen = None

    def _choose(self, now: float) -> tuple[Waiting[T], Rank[T]] | None:
        """Return the next entry and the class that pays for it."""
        only = self._recent
        due_at = only.oldest_at + self._age_step_s
        if 0 < only.live == self.size and now < due_at:
            # One class waits and nobody has aged: a third of the price of looking round.
            lone = only.next_flow()
            if lone is not None:
                self._valid_until = due_at
                return lone.head(), only
        best, best_aged = self._best_class(now)
        if best is None:
            return None
        flow = best.next_flow() if best.live else None
        if best_aged is not None:
            aged_start = max(best.order.virtual, best.aged_finish)
            if flow is None or aged_start < flow.tenant.start:
                return best_aged.flow.head(), best
        assert flow is not None
        return flow.head(), best

    def _best_class(self, now: float) -> tuple[Rank[T] | None, Waiting[T] | None]:
        """Return whose turn it is, and the aged entry that it may let go first."""
        best: Rank[T] | None = None
        best_start = self._valid_until = math.inf
        best_aged: Waiting[T] | None = None
        virtual = self._virtual
        for rank in self._urgent_first:
            below = rank.below
            aged = None if below is None or not below.live else self._aged(below, now)
            if rank.live or aged is not None:
                start = rank.finish
                if start < virtual and not rank.live:
                    start = virtual
                if start < best_start:
                    best, best_start, best_aged = rank, start, aged
        return best, best_aged

    def _aged(self, below: Rank[T], now: float) -> Waiting[T] | None:
        """Return the oldest entry of the class below if it has waited long enough."""
        due_at = below.oldest_at + self._age_step_s
        if now >= due_at:
            oldest = below.oldest()
            due_at = oldest.pushed_at + self._age_step_s
            if now >= due_at:
                return oldest
        if due_at < self._valid_until:
            self._valid_until = due_at
        return None


def _start_of(line: tuple[float, float, object]) -> float:
    return line[0]
