"""Throws away batches and jobs that have ended long ago, with all that belongs to them.

Files expire at times of their own; events are not kept at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from headrace.clock import Clock
from headrace.errors import StoreError, WrongState
from headrace.jobs import JOB_ENDS, Job
from headrace.ports import Store
from headrace.service.openai.batchbook import BatchBook

_log = logging.getLogger("headrace.service")
EVERY_S = 600.0
_DAY_S = 86_400.0
_PAGE = 100


class Retention:
    """Removes the batches and jobs of a store some time after their end.

    Args:
        store: where they are.
        clock: time.
        keep_days: days from a job's end, > 0; None keeps them for ever.
    """

    def __init__(self, store: Store, clock: Clock, keep_days: float | None) -> None:
        self._store = store
        self._clock = clock
        self._keep_days = keep_days

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Remove what is over, now and every ten minutes, while the block lasts."""
        if self._keep_days is None:
            yield
            return
        pruning = asyncio.create_task(self._run())
        try:
            yield
        finally:
            pruning.cancel()
            with suppress(asyncio.CancelledError):
                await pruning

    async def prune(self) -> int:
        """Remove what has been over for long enough; return how many there were."""
        if self._keep_days is None:
            return 0
        until = self._clock.utc() - self._keep_days * _DAY_S
        removed, before = 0, None
        while jobs := await self._store.jobs(_PAGE, before):
            before = jobs[-1].number
            for job in jobs:
                if _is_over(job, until):
                    removed += await self._remove(job)
        return removed + await BatchBook(self._store.documents()).forget(until)

    async def _remove(self, job: Job) -> int:
        try:
            await self._store.remove(job.number)
        except WrongState:  # it was retried meanwhile
            return 0
        return 1

    async def _run(self) -> None:
        while True:
            try:
                if removed := await self.prune():
                    _log.info(
                        "%d jobs and batches were removed: their time was over", removed
                    )
            except StoreError as error:
                _log.warning("nothing could be removed: %s", error)
            await self._clock.sleep(EVERY_S)


def _is_over(job: Job, until: float) -> bool:
    return job.state in JOB_ENDS and job.ended_at is not None and job.ended_at < until
