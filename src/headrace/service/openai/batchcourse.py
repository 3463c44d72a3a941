"""The course of one batch, from wherever it stands to its end.

Each step reads the batch and its job, does what is to be done, and then writes where the
batch stands now. So a step that was cut short is taken again, with the same result:

```
validating    fill a job of its own with the lines ─► seal it ─► in_progress
in_progress   wait for the job's end ─► finalizing | write the files ─► expired
finalizing    write the files ─► completed
cancelling    cancel the job, wait for its end, write the files ─► cancelled
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec

from headrace.clock import Clock
from headrace.errors import InputError, JobError, WrongState
from headrace.jobhandle import Home
from headrace.jobs import JOB_ENDS, KEY, Job, JobState, NewJob
from headrace.jsonl.arriving import lines_of
from headrace.jsonl.submission import Adding
from headrace.model import Priority
from headrace.service.openai import batch as steps
from headrace.service.openai.batch import Batch, BatchState, Problem, Results
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.batchfiles import BatchFiles
from headrace.service.openai.batchinput import InputCheck, InputLimits
from headrace.service.openai.batchresults import write_results
from headrace.service.veil import NO_VEIL, Veil

VALIDATED_AT_ONCE = 2
_LOOK_S = 0.2
"""How often a validation sees whether it was cancelled."""
_FIRST_LOOK_S = 0.05
_LONGEST_LOOK_S = 1.0
_NOTHING = Results(steps.RequestCounts())


def _no_veil() -> Veil:
    return NO_VEIL


class CourseTools(msgspec.Struct, frozen=True):
    """What batches are seen to their end with.

    Args:
        home: where the jobs are.
        book: where the batches are.
        files: where inputs and results are.
        clock: time.
        route: who answers the lines.
        limits: how much an input may hold.
        veil: gives what takes out of error files what a tenant may not see.
    """

    home: Home
    book: BatchBook
    files: BatchFiles
    clock: Clock
    route: str
    limits: InputLimits = InputLimits()
    veil: Callable[[], Veil] = _no_veil


class Course:
    """Sees batches to their end, each by its own call of `run`."""

    def __init__(self, tools: CourseTools) -> None:
        self._tools = tools
        self._store = tools.home.store
        self._book = tools.book
        self._validating = asyncio.Semaphore(VALIDATED_AT_ONCE)

    async def run(self, id: str) -> None:
        """Go on with a batch until it has ended; it may be cancelled meanwhile."""
        while True:
            batch = await self._book.find(id)
            if batch is None or batch.has_ended:
                return
            try:
                await self._go_on(batch)
            except WrongState:
                continue  # it moved while we looked: go on from where it is now

    async def _go_on(self, batch: Batch) -> None:
        match batch.state:
            case BatchState.VALIDATING if batch.job is None:
                async with self._validating:
                    await self._validate(batch)
            case BatchState.VALIDATING:
                await self._begin(batch)
            case BatchState.IN_PROGRESS:
                await self._await_end(batch)
            case BatchState.FINALIZING:
                await self._finish(batch)
            case _:
                await self._stop(batch)

    # ---- validating

    async def _validate(self, batch: Batch) -> None:
        await self._forget(batch)  # what a validation before this one had stored
        batch = await self._book.change(batch.id, steps.taken)
        left_s = batch.expires_at - self._now()
        if left_s <= 0:
            await self._end_unchecked(batch)
            return
        if not await self._tools.files.is_kept(batch.input_file_id, batch.tenant):
            await self._refuse(batch, (_file_gone(batch),))
            return
        try:
            job, _ = await self._store.create(self._new_job(batch, left_s))
            check = await self._take_in(batch, job)
        except InputError as error:
            await self._refuse(batch, (Problem("invalid_encoding", str(error)),))
        except JobError:  # it was cancelled, its window ended, or its file is gone
            await self._interrupted(batch)
        else:
            await self._checked(batch, check)

    def _new_job(self, batch: Batch, left_s: float) -> NewJob:
        key = {KEY: batch.key_id} if batch.key_id else {}
        return NewJob(
            route=self._tools.route,
            name=batch.job_name,
            priority=Priority.parse(batch.priority),
            tenant=batch.tenant,
            deadline_s=left_s,
            metadata={"batch": batch.id, **key},
        )

    async def _take_in(self, batch: Batch, job: Job) -> InputCheck:
        """Store all sound lines of the input in a job that nobody sees yet."""
        tools, look_at = self._tools, 0.0
        check = InputCheck(batch.endpoint, tools.limits)
        chunks = tools.files.read(batch.input_file_id)
        max_bytes = tools.limits.max_line_bytes
        async with Adding(self._store, job.number, check.double) as adding:
            async for block in lines_of(batch.input_file_id, chunks, max_bytes):
                await adding.add(check.take(block))
                if check.is_full:
                    break
                if tools.clock.monotonic() >= look_at:
                    look_at = tools.clock.monotonic() + _LOOK_S
                    await self._expect_ours(batch)
        check.end()
        return check

    async def _expect_ours(self, batch: Batch) -> None:
        """Make sure that nobody cancelled the batch, or began to validate it anew."""
        now = await self._book.find(batch.id)
        if now is None or (now.state, now.takes) != (batch.state, batch.takes):
            found = "gone" if now is None else now.state
            raise WrongState("the batch moved on", expected=batch.state, found=found)

    async def _checked(self, batch: Batch, check: InputCheck) -> None:
        if check.problems:
            await self._refuse(batch, check.problems)
            return
        job = await self._store.job(batch.job_name)

        def step(now: Batch) -> Batch:
            if job is None or now.takes != batch.takes:
                raise WrongState("others took it", expected="ours", found=now.state)
            return steps.checked(now, job, check.model)

        await self._begin(await self._book.change(batch.id, step))

    async def _begin(self, batch: Batch) -> None:
        """Let the job run, and say so."""
        job = await self._job_of(batch)
        if job is not None and job.state is JobState.VALIDATING:
            # If it expired or was cancelled just now, its end will tell.
            with suppress(JobError):
                await self._store.seal(job.number)
        await self._book.change(batch.id, lambda b: steps.begun(b, self._now()))
        self._tools.home.look()

    async def _refuse(self, batch: Batch, problems: tuple[Problem, ...]) -> None:
        await self._forget(batch)
        now = self._now()
        await self._book.change(batch.id, lambda b: steps.failed(b, problems, now))

    async def _interrupted(self, batch: Batch) -> None:
        """Find out why a validation could not go on; the rest is the next step's."""
        is_kept = await self._tools.files.is_kept(batch.input_file_id, batch.tenant)
        await self._forget(batch)
        if not is_kept:
            await self._refuse(batch, (_file_gone(batch),))
        elif batch.expires_at <= self._now():
            await self._end_unchecked(batch)

    async def _end_unchecked(self, batch: Batch) -> None:
        await self._forget(batch)
        now = self._now()
        await self._book.change(batch.id, lambda b: steps.expired(b, _NOTHING, now))

    async def _forget(self, batch: Batch) -> None:
        """Remove the job of a validation; nothing of it has run."""
        job = await self._store.job(batch.job_name)
        if job is not None:
            await self._store.remove(job.number)

    # ---- at work

    async def _await_end(self, batch: Batch) -> None:
        job = await self._ended_job(batch)
        now = self._now()
        if job is None or job.state is JobState.CANCELLED:
            await self._book.change(batch.id, lambda b: steps.cancelling(b, now))
        elif job.state is JobState.EXPIRED:
            results = await self._results(batch, job)
            now = self._now()
            await self._book.change(batch.id, lambda b: steps.expired(b, results, now))
        else:
            await self._book.change(batch.id, lambda b: steps.finalizing(b, now))

    async def _finish(self, batch: Batch) -> None:
        job = await self._job_of(batch)
        results = await self._results(batch, job)
        now = self._now()
        await self._book.change(batch.id, lambda b: steps.completed(b, results, now))

    async def _stop(self, batch: Batch) -> None:
        job = await self._job_of(batch)
        results = _NOTHING
        if job is not None and job.state is JobState.VALIDATING:
            await self._store.remove(job.number)
        elif job is not None:
            await self.cancel_job(job)
            while await self._store.sweep():
                pass
            results = await self._results(batch, await self._ended_job(batch))
        now = self._now()
        await self._book.change(batch.id, lambda b: steps.cancelled(b, results, now))

    async def cancel_job(self, job: Job) -> None:
        """Begin to cancel the job of a batch; one that has ended stays as it is."""
        with suppress(JobError):
            await self._store.cancel(job.number)

    async def _results(self, batch: Batch, job: Job | None) -> Results:
        if job is None:  # somebody removed it: what it counted last is all there is
            return Results(batch.counts)
        # Without keys there are no tenants, and nobody to hide anything from.
        veil = self._tools.veil() if batch.tenant else NO_VEIL
        return await write_results(self._store, self._tools.files, batch, job, veil)

    async def _ended_job(self, batch: Batch) -> Job | None:
        """Wait until the job has ended; None if it has been removed.

        Other processes may run it, and tell nobody here: it is looked at, soon at
        first, then once a second.

        Raises:
            WrongState: the batch moved on meanwhile.
        """
        pause_s = _FIRST_LOOK_S
        while True:
            job = await self._job_of(batch)
            if job is None or job.state in JOB_ENDS:
                return job
            await self._tools.clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)
            await self._expect_ours(batch)

    async def _job_of(self, batch: Batch) -> Job | None:
        return await self._store.job(batch.job or batch.job_name)

    def _now(self) -> float:
        return self._tools.clock.utc()


def _file_gone(batch: Batch) -> Problem:
    message = f"The input file '{batch.input_file_id}' is not there any more."
    return Problem("file_not_found", message, "input_file_id")
