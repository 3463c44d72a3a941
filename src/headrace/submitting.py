"""How payloads become a job: a few in one transaction, many in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from msgspec.structs import replace

from headrace.clock import Clock
from headrace.errors import BeingSubmitted, JobError, StoreError
from headrace.holders import has_died, this_process
from headrace.jobs import Job, JobState, NewItem, NewJob
from headrace.payloads import Payloads, each, new_item
from headrace.ports import Store
from headrace.stores.jobrow import new_job_id

KIND = "submission"
"""Of the document that says who fills a job now."""
HELD_S = 30.0
"""So long whoever fills a job may be silent, where nobody knows that he is dead."""
_RENEW_S = 5.0
_AGAIN_S = 1.0
_BATCH = 2_000
_PAGE = 100

Check = Callable[[str], Awaitable[None]]
"""Asked after each batch whether a route may take more; raises if it may not."""


class Submissions:
    """Puts jobs into a store; what a killed process left half filled is told and removed.

    Args:
        store: where.
        clock: time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._documents = store.documents()
        self._clock = clock

    async def submit(
        self, new: NewJob, items: Payloads, check: Check | None
    ) -> tuple[Job, bool]:
        """Store items as a job and let it run; all of them or none.

        Args:
            new: the job.
            items: its payloads; those of a job that is there already are left alone,
                but for the first few.
            check: None = any number may wait.

        Returns:
            The job, and whether it is new.

        Raises:
            BeingSubmitted: another one submits under the same key now.
        """
        async with aclosing(_batches(items)) as batches:
            first: list[NewItem] = await anext(batches, [])
            if len(first) < _BATCH and check is None:
                store = self._store
                return await self._made(lambda: store.submit(new, first))
            named = replace(new, id=new_job_id())
            async with self._held(named.id or ""):
                job, is_new = await self._made(lambda: self._store.create(named))
                if is_new:
                    job = await self._filled(job, first, batches, check)
                return job, is_new

    async def tidy(self) -> int:
        """Remove jobs that nobody fills any more; return how many."""
        removed, last = 0, None
        while page := await self._documents.documents(
            KIND, after=last, limit=_PAGE, oldest_first=True
        ):
            last = page[-1].number
            for document in page:
                if await self._is_dead(document.id):
                    removed += await self._remove(document.id)
        return removed

    async def _made(
        self, make: Callable[[], Awaitable[tuple[Job, bool]]]
    ) -> tuple[Job, bool]:
        """Make a job, in place of one that a dead process has not filled."""
        while True:
            job, is_new = await make()
            if is_new or job.state is not JobState.VALIDATING:
                return job, is_new
            if not await self._is_dead(job.id):
                raise BeingSubmitted(
                    f"job {job.id} is being submitted under the same key now; "
                    "try again when that has come to its end",
                    retry_after_s=_AGAIN_S,
                )
            await self._remove(job.id)

    async def _filled(
        self,
        job: Job,
        first: list[NewItem],
        batches: AsyncGenerator[list[NewItem], None],
        check: Check | None,
    ) -> Job:
        try:
            batch = first
            while batch:
                await self._store.add(job.number, batch)
                if check is not None:
                    await check(job.route)
                batch = await anext(batches, [])
            return await self._store.seal(job.number)
        except BaseException:
            await self._store.remove(job.number)
            raise

    @asynccontextmanager
    async def _held(self, id: str) -> AsyncIterator[None]:
        """Say that we fill a job, before it is there and until it runs or is gone."""
        until = self._clock.utc() + HELD_S
        body = this_process().encode()
        await self._documents.insert(KIND, id, body, expires_at=until)
        renewing = asyncio.create_task(self._renew(id))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            with suppress(StoreError):  # `tidy` forgets it
                await self._documents.delete(KIND, id)

    async def _renew(self, id: str) -> None:
        while True:
            await self._clock.sleep(_RENEW_S)
            with suppress(StoreError):
                known = await self._documents.document(KIND, id)
                if known is not None:
                    until = self._clock.utc() + HELD_S
                    await self._documents.replace(known, known.body, until)

    async def _is_dead(self, id: str) -> bool:
        """Is nobody left who fills a job?"""
        found = await self._documents.document(KIND, id)
        if found is None or has_died(found.body.decode()):
            return True
        return (found.expires_at or 0.0) <= self._clock.utc()

    async def _remove(self, id: str) -> int:
        """Remove a job that nobody fills, unless it runs by now."""
        job = await self._store.job(id)
        is_left = job is not None and job.state is JobState.VALIDATING
        if job is not None and is_left:
            with suppress(JobError):  # somebody was faster
                await self._store.remove(job.number)
        await self._documents.delete(KIND, id)
        return int(is_left)


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
