"""The batches of a service: made, seen and cancelled, and each seen to its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from headrace.errors import HeadraceError, NotFound, StoreError
from headrace.holders import has_died, this_process
from headrace.ports.documents import Document
from headrace.service.openai import batch as steps
from headrace.service.openai.batch import Batch, RequestCounts, counts_of, window_s
from headrace.service.openai.batchbook import Hold, hold_of, new_batch_id
from headrace.service.openai.batchcourse import Course, CourseTools
from headrace.service.openai.batchretry import write_failed_lines

_log = logging.getLogger("headrace.service")
HOLD_S = 15.0
"""After so long others go on with the batches of a process that was killed."""
_RENEW_S = 5.0
_LOOK_S = 1.0
_AGAIN_S = 5.0
"""Rest after a batch could not go on, such as when the store was away."""


class NewBatch(msgspec.Struct, frozen=True):
    """A batch as it is asked for; every field has been checked."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Mapping[str, str] | None = None
    priority: str = "normal"
    output_expires_after_s: int | None = None
    retry_of: str | None = None
    key_id: str = ""


class Batches:
    """The batches of one store; `kept` sees them to their end.

    Args:
        tools: what their courses need.
    """

    def __init__(self, tools: CourseTools) -> None:
        self._tools = tools
        self._store = tools.home.store
        self._book = tools.book
        self._clock = tools.clock
        self._course = Course(tools)
        self._me = f"{this_process()}/{secrets.token_hex(8)}"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._renew_at: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        self._is_kept = False

    # ---- what people ask for

    async def purpose(self, file_id: str, tenant: str | None) -> str | None:
        """Return what a file is for; None if this tenant has none of that id."""
        return await self._tools.files.purpose(file_id, tenant)

    async def create(self, new: NewBatch, tenant: str, id: str | None = None) -> Batch:
        """Keep a new batch, and begin with it; one that is there already stays.

        Args:
            new: what is asked for.
            tenant: whose it will be.
            id: from `new_batch_id`, if it was given out before; None makes one.
        """
        now = int(self._clock.utc())
        batch = Batch(
            id or new_batch_id(),
            tenant,
            new.input_file_id,
            new.endpoint,
            new.completion_window,
            now,
            now + window_s(new.completion_window),
            metadata=new.metadata,
            priority=new.priority,
            output_expires_after_s=new.output_expires_after_s,
            retry_of=new.retry_of,
            key_id=new.key_id,
        )
        is_new = await self._book.add(batch, self._hold() if self._is_kept else Hold())
        if not is_new:
            return await self.get(batch.id, tenant)
        if self._is_kept:
            self._begin(batch.id)
        return batch

    async def get(self, id: str, tenant: str | None) -> Batch:
        """Return a batch, its counts as they are now.

        Args:
            id: of the batch.
            tenant: who asks; None sees all.

        Raises:
            NotFound: this tenant has none of that id.
        """
        batch = await self._book.find(id)
        if batch is None or tenant not in (None, batch.tenant):
            raise NotFound(f"No batch found with id '{id}'.")
        return await self._counted(batch)

    async def list(
        self, tenant: str | None, after: str | None, limit: int
    ) -> tuple[list[Batch], bool]:
        """Return batches, newest first, and whether there are more.

        Args:
            tenant: of whom; None = of all.
            after: id of the batch to go on after; None = the first page.
            limit: at most so many, >= 1.

        Raises:
            NotFound: this tenant has no batch `after`.
        """
        found, has_more = await self._book.page(tenant, after, limit)
        return [await self._counted(batch) for batch in found], has_more

    async def cancel(self, id: str, tenant: str | None) -> Batch:
        """Begin to cancel a batch; idempotent until it has ended.

        Raises:
            NotFound: this tenant has none of that id.
            WrongState: it has ended.
        """
        await self.get(id, tenant)
        now = self._clock.utc()
        batch = await self._book.change(id, lambda b: steps.cancelling(b, now))
        job = None if batch.job is None else await self._store.job(batch.job)
        if job is not None and batch.state is steps.BatchState.CANCELLING:
            await self._course.cancel_job(job)
        return await self._counted(batch)

    async def inputs(self) -> set[str]:
        """Return the ids of the inputs of all batches that have not ended."""
        return await self._book.inputs()

    async def is_known(self, id: str) -> bool:
        """Is there a batch of that id?"""
        return await self._book.find(id) is not None

    async def retry(
        self,
        id: str,
        tenant: str | None,
        new_id: str | None = None,
        key_id: str = "",
    ) -> Batch:
        """Make a new batch of the lines of an ended one that have no answer.

        Args:
            id: of the ended one.
            tenant: who asks; None sees all.
            new_id: of the new one, if it was given out before; None makes one.
            key_id: of the key that binds the new one.

        Raises:
            NotFound: this tenant has none of that id; or its lines are gone.
            WrongState: it has not ended, or every line has its answer.
        """
        old = await self.get(id, tenant)
        new_id = new_id or new_batch_id()
        file_id = await write_failed_lines(self._store, self._tools.files, old, new_id)
        new = NewBatch(
            file_id,
            old.endpoint,
            old.completion_window,
            old.metadata,
            old.priority,
            old.output_expires_after_s,
            retry_of=old.id,
            key_id=key_id,
        )
        return await self.create(new, old.tenant, new_id)

    async def _counted(self, batch: Batch) -> Batch:
        """Return the batch with the counts of its job, while it has one at work."""
        if batch.has_ended:
            return batch
        job = await self._store.job(batch.job or batch.job_name)
        if job is None:
            return batch
        counts = counts_of(job.counts)
        if batch.state is steps.BatchState.VALIDATING:
            counts = RequestCounts(counts.total)
        return msgspec.structs.replace(
            batch, counts=counts, pause_reason=job.pause_reason
        )

    # ---- how they come to their end

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """See all batches to their end while the block lasts, those of before too.

        Leaving it stops at once; whoever comes next goes on from there.
        """
        self._is_kept = True
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            self._is_kept = False
            keeping.cancel()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.wait([keeping, *self._tasks.values()])
            await self._let_go()
            if not keeping.cancelled():
                keeping.result()

    async def _keep(self) -> None:
        while True:
            try:
                for document in await self._book.unfinished():
                    await self._look_after(document)
            except StoreError as error:
                _log.warning("batches wait until the store can be used: %s", error)
            await self._clock.sleep(_LOOK_S)

    async def _look_after(self, document: Document) -> None:
        """Take a batch that nobody holds; say again that ours are ours."""
        id, hold, now = document.id, hold_of(document), self._clock.utc()
        is_ours = hold.holder == self._me
        if is_ours and id in self._tasks and now < self._renew_at.get(id, 0.0):
            return
        if not is_ours and now < hold.until and not has_died(hold.holder):
            self._give_up(id)
            return
        if now < self._again_at.get(id, 0.0):
            return
        if await self._book.hold(document, self._hold()) is not None:
            self._begin(id)

    def _hold(self) -> Hold:
        return Hold(self._me, self._clock.utc() + HOLD_S)

    def _begin(self, id: str) -> None:
        self._renew_at[id] = self._clock.utc() + _RENEW_S
        if id not in self._tasks:
            task = asyncio.create_task(self._see_through(id))
            self._tasks[id] = task
            task.add_done_callback(partial(self._done, id))

    async def _see_through(self, id: str) -> None:
        await self._course.run(id)
        await self._book.close(id)

    def _done(self, id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(id) is task:
            del self._tasks[id]
        self._renew_at.pop(id, None)
        self._again_at.pop(id, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._again_at[id] = self._clock.utc() + _AGAIN_S
        trace = None if isinstance(error, HeadraceError) else error
        _log.error("batch %s goes on later: %s", id, error, exc_info=trace)

    def _give_up(self, id: str) -> None:
        """Somebody else holds it, for we were too slow to say that it is ours."""
        task = self._tasks.get(id)
        if task is not None:
            task.cancel()

    async def _let_go(self) -> None:
        """Tell others that they need not wait for us."""
        try:
            for document in await self._book.unfinished():
                if hold_of(document).holder == self._me:
                    await self._book.hold(document, Hold())
        except StoreError as error:
            _log.warning("batches go on in %.0f s: %s", HOLD_S, error)
