"""One job and its items in memory."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy

import msgspec
from msgspec.structs import replace

from headrace.jobs import (
    AttemptRecord,
    Finished,
    Job,
    JobState,
    Leased,
    NewItem,
    Trouble,
)
from headrace.model import ItemState, Outcome, Trace
from headrace.stores.custom_ids import check_ids, duplicate
from headrace.stores.itemstates import item_key, unrun
from headrace.stores.jobrow import JobRow, settled
from headrace.stores.packing import text
from headrace.stores.spending import nano_of, usd_of

Ends = dict[ItemState, int]


class MemoryItem(msgspec.Struct):
    """One item; its outcome stands in the job's list."""

    new: NewItem
    queued_at: float
    state: ItemState = ItemState.QUEUED
    generation: int = 0
    attempts: int = 0
    rescues: int = 0
    ended_at: float = 0.0
    owner: int = 0
    tries: list[AttemptRecord] = []

    def queue(self, now: float) -> None:
        """Let it wait for its next run."""
        self.state, self.owner, self.queued_at = ItemState.QUEUED, 0, now


class MemoryJob:
    """A job's row, its items by `seq`, and its outcomes by number."""

    def __init__(self, row: JobRow) -> None:
        self.row = row
        self.items: list[MemoryItem] = []
        self.running: set[int] = set()
        self._ids: set[str] = set()
        self._queued: list[int] = []
        self._outcomes: list[Outcome] = []

    def see(self) -> Job:
        """Return the job as everyone else sees it."""
        return self.row.job(len(self.running))

    def add(self, items: Sequence[NewItem], now: float) -> None:
        """Append items, all or none."""
        start = len(self.items)
        check_ids(items, start)
        for n, new in enumerate(items):
            if new.custom_id in self._ids:
                raise duplicate(new.custom_id, start + n)
        self._ids.update(new.custom_id for new in items)
        self.items.extend(MemoryItem(new, now) for new in items)
        self._queued.extend(range(start, len(self.items)))  # ascending: still a heap
        self.row = replace(self.row, total=len(self.items))

    def has_queued(self) -> bool:
        """Is there an item that waits?"""
        return bool(self._queued)

    def queue(self, seqs: Iterable[int], now: float) -> None:
        """Let items wait for their next run."""
        for seq in seqs:
            self.items[seq].queue(now)
            self.running.discard(seq)
            heapq.heappush(self._queued, seq)

    def pop(self, limit: int) -> list[int]:
        """Take queued items out, lowest first; the caller gives them a state."""
        queued = self._queued
        return [heapq.heappop(queued) for _ in range(min(limit, len(queued)))]

    def take(self, owner: int, limit: int, now: float) -> list[Leased]:
        """Give queued items to an owner."""
        return [self._taken(seq, owner, now) for seq in self.pop(limit)]

    def _taken(self, seq: int, owner: int, now: float) -> Leased:
        item = self.items[seq]
        item.state, item.owner = ItemState.RUNNING, owner
        self.running.add(seq)
        return Leased(
            item=item_key(self.row.number, seq),
            job=self.row.number,
            seq=seq,
            custom_id=item.new.custom_id,
            generation=item.generation,
            attempts=item.attempts,
            payload=item.new.payload,
            queued_s=max(0.0, now - item.queued_at),
        )

    def held(self, owner: int) -> list[int]:
        """Return the items that an owner holds, lowest first."""
        return sorted(s for s in tuple(self.running) if self.items[s].owner == owner)

    def generation_held(self, seq: int, owner: int) -> int | None:
        """Return the item's generation, if this owner holds it."""
        item = self.items[seq]
        is_held = item.state is ItemState.RUNNING and item.owner == owner
        return item.generation if is_held else None

    def finish(self, done: Finished, number: int, now: float) -> None:
        """Keep the outcome of an item that is held."""
        outcome, seq = done.outcome, done.lease.seq
        failure, cost_usd = outcome.failure, outcome.cost_usd
        if failure is not None:
            failure = replace(failure, message=text(failure.message))
        kept = replace(
            outcome,
            id=done.lease.custom_id,
            index=seq,
            value=done.body if failure is None else None,
            failure=failure,
            trace=copy(outcome.trace),
            cost_usd=None if cost_usd is None else usd_of(nano_of(cost_usd)),
            number=number,
        )
        self.items[seq].attempts = outcome.trace.attempts
        self._end(seq, kept, now)

    def end_unrun(self, seqs: Sequence[int], state: ItemState, now: float) -> Ends:
        """End items without a run; the caller settles the row."""
        for number, seq in enumerate(seqs, self.row.version + 1):
            item = self.items[seq]
            trace = Trace(item.attempts, queued_s=max(0.0, now - item.queued_at))
            ended = unrun(item.new.custom_id, seq, state, number, trace)
            self._end(seq, ended, now)
        return {state: len(seqs)}

    def _end(self, seq: int, outcome: Outcome, now: float) -> None:
        item = self.items[seq]
        item.ended_at = now
        item.state, item.owner = outcome.state, 0
        self.running.discard(seq)
        self._outcomes.append(outcome)

    def settle(self, ends: Ends, now: float) -> None:
        """Count what has ended, and move the job on."""
        self.row = settled(self.row, ends, now)

    def rescue(self, seqs: Sequence[int], max_rescues: int | None, now: float) -> None:
        """Queue items of dead owners; end as poisoned what has killed too many."""
        poisoned = []
        for seq in seqs:
            item = self.items[seq]
            item.rescues += 1
            is_spent = max_rescues is not None and item.rescues >= max_rescues
            if is_spent and self.row.state != JobState.CANCELLING:
                poisoned.append(seq)
            else:
                self.queue([seq], now)
        if poisoned:
            self.settle(self.end_unrun(poisoned, ItemState.FAILED, now), now)

    def retry(self, now: float) -> None:
        """Queue what has ended without success in its next generation."""
        again = [o for o in self._outcomes if o.state is not ItemState.SUCCEEDED]
        self._outcomes = [o for o in self._outcomes if o.state is ItemState.SUCCEEDED]
        for outcome in again:
            item = self.items[outcome.index]
            item.tries = [*item.tries, _former(item, outcome)]
            item.generation += 1
            item.attempts = item.rescues = 0
        self.queue([outcome.index for outcome in again], now)

    def troubles(self, limit: int) -> list[Trouble]:
        """Return the failed tries by endpoint and code, most frequent first."""
        tries = [t for item in self.items for t in item.tries if t.endpoint]
        counts = Counter((t.endpoint, t.code) for t in tries)
        examples = {(t.endpoint, t.code): t.message for t in tries}
        kinds = sorted(counts, key=lambda kind: (-counts[kind], kind))
        return [Trouble(*k, counts[k], examples[k]) for k in kinds[:limit]]

    def page(self, after: int, limit: int) -> list[Outcome]:
        """Return outcomes with numbers above `after`, in order."""
        first = bisect_right(self._outcomes, after, key=lambda o: o.number)
        return self._outcomes[first : first + limit]


def _former(item: MemoryItem, outcome: Outcome) -> AttemptRecord:
    failure = outcome.failure
    return AttemptRecord(
        seq=outcome.index,
        generation=item.generation,
        attempt=item.attempts,
        code="" if failure is None else str(failure.code),
        message="" if failure is None else failure.message,
        ended_at=item.ended_at,
        status=outcome.status,
    )
