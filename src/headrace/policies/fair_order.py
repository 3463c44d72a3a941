"""Start-time fair queueing: in which order members of one circle are served.

Whoever waits has a start tag, the least goes next, and its next tag is later by
its cost. One that comes back starts at the present virtual time: it neither pays
for its absence nor is paid for it.
Source: Goyal, Vin & Cheng 1996 (SFQ); VTC, arXiv 2401.00588 (correction once the real
cost is known).
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, Protocol, TypeVar

SLACK = 64
"""Dead records kept before a sweep; amortises it."""


class Member:
    """One of those who share: its tags, and how many entries of it wait."""

    __slots__ = ("debt", "finish", "key", "live", "start", "turn")

    def __init__(self, key: str) -> None:
        self.key = key
        self.start = 0.0
        self.finish = 0.0
        self.debt = 0.0
        """Cost still to be added to its tags."""
        self.turn = 0
        """Names its one valid place in the heap of its circle."""
        self.live = 0


M = TypeVar("M", bound=Member)


class FairOrder(Generic[M]):
    """Members in the order of their start tags.

    Invariant: while two members wait, what they were served differs by at most the sum
    of their largest costs.
    """

    __slots__ = ("heap", "latest", "sweep_at", "turns", "virtual")

    def __init__(self) -> None:
        self.virtual = 0.0
        self.latest = 0.0
        """Greatest finish tag given; where the virtual time goes when all have gone."""
        self.turns = 0
        self.sweep_at = SLACK
        self.heap: list[tuple[float, int, M]] = []
        """Start tag, turn, member; a place whose turn is not the member's is void."""

    def enter(self, member: M, start: float) -> None:
        """Give a member its place in the order."""
        self.turns += 1
        member.start, member.turn = start, self.turns
        heappush(self.heap, (start, self.turns, member))

    def join(self, member: M) -> None:
        """Let a member in that has begun to wait."""
        finish = member.finish
        if len(self.heap) >= self.sweep_at:
            self.heap = [p for p in self.heap if p[2].turn == p[1] and p[2].live]
            heapify(self.heap)
            self.sweep_at = 2 * len(self.heap) + SLACK
        self.enter(member, finish if finish > self.virtual else self.virtual)

    def first(self) -> M | None:
        """Return the member whose turn it is."""
        heap = self.heap
        while heap:
            _, turn, member = heap[0]
            if member.turn == turn and member.live:
                return member
            heappop(heap)
        return None

    def served(self, member: M, cost: float, *, was_last: bool) -> None:
        """Move the tags on after an entry of `member` has gone.

        Args:
            member: one that waited; `live` counts the entry no more.
            cost: of the entry.
            was_last: does nobody at all wait any more?
        """
        start, heap = member.start, self.heap
        finish = start + cost + member.debt
        if finish < start:
            finish = start
        member.finish = finish
        member.debt = 0.0
        if finish > self.latest:
            self.latest = finish
        if heap[0][1] == member.turn:  # else it went out of turn
            if start > self.virtual:
                self.virtual = start
            if member.live:
                self.turns = turn = self.turns + 1
                member.start, member.turn = finish, turn
                heapreplace(heap, (finish, turn, member))
            else:
                heappop(heap)
        elif member.live:
            self.enter(member, finish)
        if was_last:
            self.virtual = self.latest

    def charge(self, member: M, delta: float) -> None:
        """Charge `delta` more (or less); it tells from the member's next entry on."""
        if member.live:
            member.debt += delta
        else:
            member.finish += delta

    def ahead(self) -> Iterator[M]:
        """Yield those who wait in the order of their start tags; changes nothing.

        The k first cost O(k log k), however many wait.
        """
        heap = self.heap
        if not heap:
            return
        frontier = [(heap[0][0], heap[0][1], 0)]
        while frontier:
            _, turn, at = heappop(frontier)
            member = heap[at][2]
            if member.turn == turn and member.live:
                yield member
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(heap):
                    heappush(frontier, (heap[child][0], heap[child][1], child))


class Costed(Protocol):
    """Something that costs."""

    @property
    def cost(self) -> float: ...


P = TypeVar("P", bound=Costed)
Line = tuple[float, float, Iterator[P]]
"""A start tag, a weight, and entries in their order."""


def merged(lines: Iterator[Line[P]]) -> Iterator[P]:
    """Yield the entries of all lines as they would be served if nobody else came.

    Reads no more than it yields, and one line ahead.

    Args:
        lines: in the order of their start tags.
    """
    going: list[tuple[float, int, float, Iterator[P]]] = []
    number, coming = 0, next(lines, None)
    while going or coming is not None:
        while coming is not None and (not going or coming[0] <= going[0][0]):
            number += 1
            heappush(going, (coming[0], number, *coming[1:]))
            coming = next(lines, None)
        start, turn, weight, entries = going[0]
        entry = next(entries, None)
        if entry is None:
            heappop(going)
        else:
            heapreplace(going, (start + entry.cost / weight, turn, weight, entries))
            yield entry
