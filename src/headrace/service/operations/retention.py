"""Throws away what is over: repeats, what a killed process left, and what ended long ago.

Uploaded files expire at times of their own; events are not kept at all.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from contextlib import AbstractAsyncContextManager

from headrace.clock import Clock
from headrace.errors import StoreError, WrongState
from headrace.jobs import JOB_ENDS, Job
from headrace.ports import Store
from headrace.service.beside import beside
from headrace.service.openai.batch import Batch
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.filestore import FileStore
from headrace.service.repeats import Repeats
from headrace.submitting import Submissions

_log = logging.getLogger("headrace.service")
EVERY_S = 600.0
_DAY_S = 86_400.0
_PAGE = 100


class Retention:
    """Removes from a store what nobody needs any more.

    Args:
        store: where jobs and batches are.
        files: where the results of batches are.
        clock: time.
        keep_days: days from the end of a job or batch, > 0; None keeps them for ever.

    Invariant: nothing of a batch that has not ended is removed, not even its job, which
    may have ended long before.
    """

    def __init__(
        self, store: Store, files: FileStore, clock: Clock, keep_days: float | None
    ) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._keep_days = keep_days
        self._book = BatchBook(store.documents())
        self._repeats = Repeats(store.documents(), clock)
        self._submissions = Submissions(store, clock)

    def kept(self) -> AbstractAsyncContextManager[None]:
        """Remove what is over, now and every ten minutes, while the block lasts."""
        return beside(self._run())

    async def prune(self) -> int:
        """Remove jobs and batches that have been over for long enough.

        Returns:
            How many there were.
        """
        if self._keep_days is None:
            return 0
        until = self._clock.utc() - self._keep_days * _DAY_S
        alive = {open_.id for open_ in await self._book.unfinished()}
        removed, before = 0, None
        while jobs := await self._store.jobs(_PAGE, before):
            before = jobs[-1].number
            for job in jobs:
                if _is_over(job, until, alive):
                    removed += await self._remove(job)
        async for batch in self._book.ended_before(until):
            await self._forget(batch)
            removed += 1
        return removed

    async def _forget(self, batch: Batch) -> None:
        """Forget a batch and its results; files with a time of their own stay for it."""
        if batch.output_expires_after_s is None:
            for id in (batch.output_file_id, batch.error_file_id):
                if id is not None:
                    await self._files.discard(id)
        await self._book.forget(batch.id)

    async def _remove(self, job: Job) -> int:
        try:
            await self._store.remove(job.number)
        except WrongState:  # it was retried meanwhile
            return 0
        return 1

    async def _run(self) -> None:
        while True:
            try:
                await self._repeats.tidy()
                if left := await self._submissions.tidy():
                    _log.info("%d half submitted jobs were removed", left)
                if removed := await self.prune():
                    _log.info(
                        "%d jobs and batches were removed: their time was over", removed
                    )
            except StoreError as error:
                _log.warning("nothing could be removed: %s", error)
            await self._clock.sleep(EVERY_S)


def _is_over(job: Job, until: float, alive: Container[str]) -> bool:
    if job.metadata.get("batch") in alive:
        return False
    return job.state in JOB_ENDS and job.ended_at is not None and job.ended_at < until
