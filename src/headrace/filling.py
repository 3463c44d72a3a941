"""Puts the items of a new job into the store, a few thousand at a time."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.directcalls import DirectCalls
from headrace.jobs import Job, NewItem
from headrace.payloads import Payloads, each, new_item
from headrace.ports import Store

_BATCH = 2_000


class Filling:
    """Fills jobs that are validating.

    Args:
        store: where they are.
        direct: knows how soon a full queue has room.
        clock: time.
        max_queued: items of one route that may wait; None = any number.
    """

    def __init__(
        self, store: Store, direct: DirectCalls, clock: Clock, max_queued: int | None
    ) -> None:
        self._store = store
        self._direct = direct
        self._clock = clock
        self._max_queued = max_queued

    async def fill(self, job: Job, items: Payloads) -> None:
        """Put all items into a job.

        Raises:
            ValueError, DuplicateItem: an item is refused.
            QueueFull: more items would wait than may.
        """
        batch: list[NewItem] = []
        index = 0
        async for item in each(items):
            batch.append(new_item(item, index))
            index += 1
            if len(batch) == _BATCH:
                await self._add(job, batch)
                batch = []
        if batch:
            await self._add(job, batch)

    async def _add(self, job: Job, batch: list[NewItem]) -> None:
        await self._store.add(job.number, batch)
        if self._max_queued is None:
            return
        queued = await self._store.queued([job.route])
        if queued > self._max_queued:
            now = self._clock.monotonic()
            raise self._direct.refusal(job.route, queued, self._max_queued, now)
