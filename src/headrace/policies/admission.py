"""Who goes next: shares between priorities, fairness between flows, order within one.

```
FairQueue ─► 4 classes (urgent 50, high 25, normal 15, low 10 % when all wait)
                └─► flows (tenant and job), by weight ─► entries, first in first out
```

Both levels are start-time fair queueing: whoever waits has a start tag, the least goes
next, and its next tag is later by cost / weight. One that comes back starts at the
present virtual time: it neither pays for its absence nor is paid for it. An entry that
has waited for `age_step_s` also counts in the class above, where all such entries
together are one flow.
Source: Goyal, Vin & Cheng 1996 (SFQ); VTC, arXiv 2401.00588 (correction once the real
cost is known); shares and ageing from the algorithm notes of this project, section 7.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

import msgspec

from headrace.model import Priority

T = TypeVar("T")

SHARES = {
    Priority.URGENT: 0.50,
    Priority.HIGH: 0.25,
    Priority.NORMAL: 0.15,
    Priority.LOW: 0.10,
}
_LEAST_COST = 1.0
"""A call costs something even where nothing is counted; else tags would not move."""
_SLACK = 64
"""Dead records kept before a sweep; amortises it."""


class _Waiting(msgspec.Struct, Generic[T], eq=False):
    """An entry in its place."""

    entry: T
    flow: _Flow[T]
    cost: float
    pushed_at: float
    gone: bool = False


class _Flow(Generic[T]):
    """The entries of one asker within one class."""

    __slots__ = (
        "debt",
        "finish",
        "home",
        "key",
        "line",
        "live",
        "start",
        "turn",
        "weight",
    )

    def __init__(self, key: str, home: _Class[T]) -> None:
        self.key = key
        self.home = home
        self.weight = 1.0
        self.start = 0.0
        self.finish = 0.0
        self.debt = 0.0
        """Cost / weight still to be added to its tags, from corrections."""
        self.turn = 0
        """Names its one valid place in the heap of its class."""
        self.live = 0
        self.line: deque[_Waiting[T]] = deque()

    def head(self) -> _Waiting[T]:
        """Return the first entry that still waits; there is one."""
        line = self.line
        while line[0].gone:
            line.popleft()
        return line[0]


class _Class(Generic[T]):
    """All flows of one priority."""

    __slots__ = (
        "aged_finish",
        "arrivals",
        "below",
        "finish",
        "flows",
        "heap",
        "latest",
        "live",
        "oldest_at",
        "share",
        "sweep_at",
        "turns",
        "virtual",
    )

    def __init__(self, share: float, below: _Class[T] | None) -> None:
        self.share = share
        self.below = below
        self.finish = 0.0
        self.virtual = 0.0
        self.aged_finish = 0.0
        """Finish tag of the flow made of all aged entries of the class below."""
        self.latest = 0.0
        """Greatest finish tag given; where the virtual time goes when all have gone."""
        self.live = 0
        self.turns = 0
        self.sweep_at = _SLACK
        self.oldest_at = 0.0
        """No entry that waits was pushed before; exact after `oldest`."""
        self.flows: dict[str, _Flow[T]] = {}
        self.heap: list[tuple[float, int, _Flow[T]]] = []
        """Start tag, turn, flow; a place whose turn is not the flow's is void."""
        self.arrivals: deque[_Waiting[T]] = deque()
        """Entries in order of arrival; the gone ones are swept now and then."""

    def new_flow(self, key: str) -> _Flow[T]:
        """Return a flow not known before."""
        if len(self.flows) >= self.sweep_at:
            self._forget_idle()
        flow = self.flows[key] = _Flow(key, self)
        return flow

    def _forget_idle(self) -> None:
        """Drop idle flows whose finish tag the virtual time has passed."""
        self.flows = {
            key: flow
            for key, flow in self.flows.items()
            if flow.live or flow.finish > self.virtual
        }
        self.sweep_at = 2 * len(self.flows) + _SLACK

    def enter(self, flow: _Flow[T], start: float) -> None:
        """Give a flow its place in the order."""
        self.turns += 1
        flow.start, flow.turn = start, self.turns
        heap = self.heap
        if len(heap) > 2 * len(self.flows) + _SLACK:
            self.heap = heap = [p for p in heap if p[2].turn == p[1] and p[2].live]
            heapify(heap)
        heappush(heap, (start, self.turns, flow))

    def next_flow(self) -> _Flow[T] | None:
        """Return the flow whose turn it is."""
        heap = self.heap
        while heap:
            _, turn, flow = heap[0]
            if flow.turn == turn and flow.live:
                return flow
            heappop(heap)
        return None

    def oldest(self) -> _Waiting[T]:
        """Return the entry that has waited longest; there is one."""
        arrivals = self.arrivals
        while arrivals[0].gone:
            arrivals.popleft()
        self.oldest_at = arrivals[0].pushed_at
        return arrivals[0]

    def dispatched(self, flow: _Flow[T], cost: float) -> None:
        """Move the tags on after an entry of `flow` has gone."""
        start, heap = flow.start, self.heap
        is_first = heap[0][1] == flow.turn  # else it went because of its age
        if is_first and start > self.virtual:
            self.virtual = start
        finish = start + cost / flow.weight + flow.debt
        if finish < start:
            finish = start
        flow.finish = finish
        flow.debt = 0.0
        if finish > self.latest:
            self.latest = finish
        if flow.live and is_first:
            self.turns = turn = self.turns + 1
            flow.start, flow.turn = finish, turn
            heapreplace(heap, (finish, turn, flow))
        elif flow.live:
            self.enter(flow, finish)
        elif is_first:
            heappop(heap)
        if not self.live:
            self.virtual = self.latest


class FairQueue(Generic[T]):
    """Entries that wait, in the order in which they should go.

    Knows no time of its own: `now` is monotonic seconds and never goes back. Entries
    are told apart by identity; one may be in the queue once at a time.

    Invariants: while two flows of one class wait, what they were served differs by at
    most the sum of their largest costs / weight; a class that waits gets its share;
    what is left is shared by those that wait.
    """

    def __init__(self, age_step_s: float = 60.0) -> None:
        self._age_step_s = age_step_s
        self._virtual = 0.0
        below: _Class[T] | None = None
        classes: list[_Class[T]] = []
        for priority in sorted(SHARES):
            below = _Class(SHARES[priority], below)
            classes.append(below)
        self._by_priority = classes
        self._urgent_first = classes[::-1]
        self._recent = classes[0]
        """The class last pushed to: often the only one that waits."""
        self._places: dict[int, _Waiting[T]] = {}
        self.size = 0
        """Entries that wait; a field, as the gate asks all the time."""
        self._chosen: tuple[_Waiting[T], _Class[T]] | None = None
        self._valid_until = 0.0

    def __len__(self) -> int:
        return self.size

    def push(  # noqa: PLR0913  an entry's whole standing, given once
        self,
        entry: T,
        flow: str,
        priority: Priority,
        cost: float,
        now: float,
        weight: float = 1.0,
        *,
        front: bool = False,
    ) -> None:
        """Let `entry` wait.

        Args:
            entry: anything; compared by identity.
            flow: who asks.
            priority: its class.
            cost: tokens or calls it is expected to take; less than 1 counts as 1.
            now: monotonic seconds.
            weight: the flow's share beside others of its class, > 0; the last one
                given holds.
            front: go before all others of its own flow, as a retry does.

        Raises:
            ValueError: `entry` waits already.
        """
        places, name = self._places, id(entry)
        if name in places:
            raise ValueError(f"{entry!r} waits already")
        home = self._by_priority[priority]
        asker = home.flows.get(flow) or home.new_flow(flow)
        asker.weight = weight
        if cost < _LEAST_COST:
            cost = _LEAST_COST
        places[name] = place = _Waiting(entry, asker, cost, now)
        if front:
            asker.line.appendleft(place)
        else:
            asker.line.append(place)
        home.arrivals.append(place)
        if not home.live:
            home.oldest_at = now
        self._recent = home
        self.size += 1
        home.live += 1
        asker.live += 1
        if asker.live == 1:
            start = asker.finish
            home.enter(asker, start if start > home.virtual else home.virtual)
        self._chosen = None

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
        if start < self._virtual:
            start = self._virtual
        self._virtual = start
        payer.finish = start + cost / payer.share
        if payer is not home:
            payer.aged_finish = max(payer.virtual, payer.aged_finish) + cost
        flow.line.popleft()
        self._remove(place)
        home.dispatched(flow, cost)
        return place.entry

    def discard(self, entry: T) -> None:
        """Take out an entry that waits no more; nothing happens if it is not here."""
        place = self._places.get(id(entry))
        if place is None or place.entry is not entry:
            return
        self._remove(place)
        line = place.flow.line
        if len(line) > 2 * place.flow.live + _SLACK:
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
        if asker.live:
            asker.debt += delta_cost / asker.weight
        else:
            asker.finish += delta_cost / asker.weight
        self._chosen = None

    def _remove(self, place: _Waiting[T]) -> None:
        place.gone = True
        flow = place.flow
        home = flow.home
        del self._places[id(place.entry)]
        self.size -= 1
        flow.live -= 1
        home.live -= 1
        arrivals = home.arrivals
        if arrivals[0] is place:  # as a rule who came first goes first
            arrivals.popleft()
        elif len(arrivals) > 2 * home.live + _SLACK:
            home.arrivals = deque([p for p in arrivals if not p.gone])
        if not flow.live:
            flow.line.clear()
        self._chosen = None

    def _choose(self, now: float) -> tuple[_Waiting[T], _Class[T]] | None:
        """Return the next entry and the class that pays for it."""
        only = self._recent
        due_at = only.oldest_at + self._age_step_s
        if 0 < only.live == self.size and now < due_at:
            # One class waits and nobody has aged: a third of the price of looking round.
            _, turn, lone = only.heap[0]
            if lone.turn == turn and lone.live:
                self._valid_until = due_at
                return lone.head(), only
        best, best_aged = self._best_class(now)
        if best is None:
            return None
        flow = best.next_flow() if best.live else None
        if best_aged is not None:
            aged_start = max(best.virtual, best.aged_finish)
            if flow is None or aged_start < flow.start:
                return best_aged.flow.head(), best
        assert flow is not None
        return flow.head(), best

    def _best_class(self, now: float) -> tuple[_Class[T] | None, _Waiting[T] | None]:
        """Return whose turn it is, and the aged entry that it may let go first."""
        best: _Class[T] | None = None
        best_start = self._valid_until = math.inf
        best_aged: _Waiting[T] | None = None
        virtual = self._virtual
        for rank in self._urgent_first:
            below = rank.below
            aged = None if below is None or not below.live else self._aged(below, now)
            if rank.live or aged is not None:
                start = rank.finish if rank.finish > virtual else virtual
                if start < best_start:
                    best, best_start, best_aged = rank, start, aged
        return best, best_aged

    def _aged(self, below: _Class[T], now: float) -> _Waiting[T] | None:
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
