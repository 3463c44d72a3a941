"""How payloads become a job: a few in one transaction, many in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from headrace.jobs import Job, NewItem, NewJob
from headrace.payloads import Payloads, each, new_item
from headrace.ports import Intake

_BATCH = 2_000

Check = Callable[[str], Awaitable[None]]
"""Asked after each batch whether a route may take more; raises if it may not."""


async def submit(
    store: Intake, new: NewJob, items: Payloads, check: Check | None
) -> tuple[Job, bool]:
    """Store items as a job and let it run; all of them or none.

    Args:
        store: where.
        new: the job.
        items: its payloads; those of a job that is there already are left alone, but
            for the first few.
        check: None = any number may wait.

    Returns:
        The job, and whether it is new.
    """
    async with aclosing(_batches(items)) as batches:
        first: list[NewItem] = await anext(batches, [])
        if len(first) < _BATCH and check is None:
            return await store.submit(new, first)
        job, is_new = await store.create(new)
        if not is_new:
            return job, False
        try:
            batch = first
            while batch:
                await store.add(job.number, batch)
                if check is not None:
                    await check(new.route)
                batch = await anext(batches, [])
            return await store.seal(job.number), True
        except BaseException:
            await store.remove(job.number)
            raise


async def _batches(items: Payloads) -> AsyncGenerator[list[NewItem], None]:
    """Give the items as a store takes them, never none at once."""
    batch: list[NewItem] = []
    index = 0
    async for item in each(items):
        batch.append(new_item(item, index))
        index += 1
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
