"""Batches on their way into a store, which finds the names that stand twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from headrace.errors import DuplicateItem
from headrace.jsonl.badline import double
from headrace.jsonl.validation import Batch, Validation
from headrace.ports import Intake

_MOST_WAITING = 16
"""Batches that wait while the store is busy: a megabyte of a batch's input."""

OnDouble = Callable[[int, str], None]
"""Told of the line and the name of each that stands on an earlier line already."""


async def submit(intake: Intake, job: int, validation: Validation) -> int:
    """Store all items of an input; lines whose name is taken are added to its bad ones.

    So the first line of each name stands in the store, whatever follows.

    Args:
        intake: the store.
        job: `Job.number` of an empty job in state `validating`.
        validation: gives the items.

    Returns:
        How many items were stored.
    """
    file = validation.source.name

    def on_double(line: int, custom_id: str) -> None:
        validation.bad.add(double(file, line, custom_id))

    async with Adding(intake, job, on_double) as adding:
        for batch in validation.batches():
            await adding.add(batch)
        return await adding.wait_stored()


class Adding:
    """Stores batches in their order, while its caller reads the next ones.

    What comes while the store is busy goes in together.

    A block: what is under way at its end is waited for, or cancelled if it fails.

    Args:
        intake: the store.
        job: `Job.number` of an empty job in state `validating`.
        on_double: told of each item that is left out, some batches late.
    """

    def __init__(self, intake: Intake, job: int, on_double: OnDouble) -> None:
        self._intake = intake
        self._job = job
        self._on_double = on_double
        self._total = 0
        self._step: asyncio.Task[int] | None = None
        self._waiting: list[Batch] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._step is not None and error is not None:
            self._step.cancel()
            await asyncio.wait([self._step])
            if not self._step.cancelled():
                self._step.exception()  # the first error is the one that counts
        elif self._step is not None:
            await self.wait_stored()

    async def add(self, batch: Batch) -> None:
        """Store a batch after those before it; wait only if too many wait already.

        Raises:
            JobError, StoreError: one of those before it could not be stored.
        """
        self._waiting.append(batch)
        step = self._step
        if step is None or step.done() or len(self._waiting) >= _MOST_WAITING:
            await self._await_step()
            self._begin()
        assert self._step is not None
        await asyncio.wait([self._step], timeout=0)  # let the store have its turn

    async def wait_stored(self) -> int:
        """Wait until all is stored; return how many items that is.

        Raises:
            JobError, StoreError: as `add`.
        """
        await self._await_step()
        if self._waiting:
            self._begin()
            await self._await_step()
        return self._total

    def _begin(self) -> None:
        """Store all that waits."""
        waiting, self._waiting = self._waiting, []
        items = [item for batch in waiting for item in batch.items]
        numbers = [number for batch in waiting for number in batch.numbers]
        batch, total = Batch(items, numbers), self._total
        self._step = asyncio.create_task(
            add_first_of_each(self._intake, self._job, batch, total, self._on_double)
        )

    async def _await_step(self) -> None:
        if self._step is not None:
            step, self._step = self._step, None
            try:
                self._total += await step
            except asyncio.CancelledError:
                self._step = step
                raise


async def add_first_of_each(
    intake: Intake, job: int, batch: Batch, first_seq: int, on_double: OnDouble
) -> int:
    """Store a batch but its doubles; return how many items.

    All or none are stored at once, so a batch is cut where a double is found. What
    follows it is halved, so that a batch of doubles takes n log n items, not n².

    Args:
        intake: the store.
        job: `Job.number` of a job in state `validating`.
        batch: the items; may be none.
        first_seq: how many the job has.
        on_double: told of each that is left out.
    """
    if not batch.items:
        return 0
    try:
        await intake.add(job, batch.items)
        return len(batch.items)
    except DuplicateItem as error:
        at = min(max(error.seq - first_seq, 0), len(batch.items) - 1)
    on_double(batch.numbers[at], batch.items[at].custom_id)
    middle = (at + 1 + len(batch.items)) // 2
    added = 0
    for part in (slice(0, at), slice(at + 1, middle), slice(middle, None)):
        piece = Batch(batch.items[part], batch.numbers[part])
        seq = first_seq + added
        added += await add_first_of_each(intake, job, piece, seq, on_double)
    return added
