"""The store that forgets: one process, no file; for tests, and for virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from msgspec.structs import replace

from headrace.clock import Clock
from headrace.errors import LeaseLost, NotFound
from headrace.jobs import (
    JOB_ENDS,
    AttemptRecord,
    Finished,
    Flow,
    Job,
    JobState,
    Leased,
    NewItem,
    NewJob,
    Recorded,
    Spent,
    Trouble,
)
from headrace.model import Outcome, Priority
from headrace.ports import Cache, Documents, FilePieces, Pulse
from headrace.stores import jobrow
from headrace.stores.custom_ids import check_ids
from headrace.stores.itemstates import UNFINISHED, job_and_seq
from headrace.stores.jobrow import JobRow, expect, first_row, key_in
from headrace.stores.memory_documents import MemoryDocuments
from headrace.stores.memory_job import MemoryJob
from headrace.stores.packing import text
from headrace.stores.spending import usd_of
from headrace.stores.steps_notes import KEPT_S
from headrace.stores.steps_sums import TROUBLES

MAY_RUN = (JobState.QUEUED, JobState.IN_PROGRESS)


class MemoryStore:
    """The `Store` of `ports` in this process's memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[int, MemoryJob] = {}
        self._expires_at: dict[int, float] = {}
        self._notes: dict[str, tuple[bytes, float]] = {}
        self._documents = MemoryDocuments()
        self._numbers = count(1)
        self._epochs = count(1)

    def _find(self, job: int) -> MemoryJob:
        try:
            return self._jobs[job]
        except KeyError:
            raise NotFound(f"there is no job number {job}") from None

    def _change(self, job: int, decide: Callable[[JobRow, float], JobRow]) -> Job:
        found = self._find(job)
        found.row = decide(found.row, self._clock.utc())
        return found.see()

    def _is_alive(self, epoch: int) -> bool:
        return self._expires_at.get(epoch, 0.0) > self._clock.utc()

    async def submit(self, new: NewJob, items: Sequence[NewItem]) -> tuple[Job, bool]:
        check_ids(items, 0)
        job, is_new = await self.create(new)
        if is_new:
            await self.add(job.number, items)
            job = await self.seal(job.number)
        return job, is_new

    async def create(self, new: NewJob) -> tuple[Job, bool]:
        for job in self._jobs.values():
            key = job.row.idempotency_key
            if key is not None and key == new.idempotency_key:
                return job.see(), False
        if new.name in {job.row.name for job in self._jobs.values()} - {None}:
            raise jobrow.name_taken(new)
        row = first_row(new, next(self._numbers), self._clock.utc())
        self._jobs[row.number] = MemoryJob(row)
        return self._jobs[row.number].see(), True

    async def add(self, job: int, items: Sequence[NewItem]) -> None:
        found = self._find(job)
        expect(found.row, JobState.VALIDATING)
        found.add(items, self._clock.utc())

    async def seal(self, job: int) -> Job:
        return self._change(job, jobrow.sealed)

    async def remove(self, job: int) -> None:
        found = self._jobs.get(job)
        if found is not None:
            if any(self._is_alive(found.items[seq].owner) for seq in found.running):
                raise jobrow.still_running(found.row)
            del self._jobs[job]

    async def job(self, ref: str | int) -> Job | None:
        if isinstance(ref, int):
            return self._jobs[ref].see() if ref in self._jobs else None
        rows = [j for j in self._jobs.values() if ref in (j.row.id, j.row.name)]
        return min(rows, key=lambda j: j.row.id != ref).see() if rows else None

    async def jobs(self, limit: int = 50, before: int | None = None) -> list[Job]:
        numbers = sorted(self._jobs, reverse=True)
        wanted = [n for n in numbers if before is None or n < before]
        return [self._jobs[n].see() for n in wanted[:limit]]

    async def finalizing(self, routes: Sequence[str]) -> list[Job]:
        rows = [job for job in self._jobs.values() if job.row.route in routes]
        return [j.see() for j in rows if j.row.state is JobState.FINALIZING]

    async def outcomes(
        self, job: int, after: int = 0, limit: int = 500
    ) -> list[Outcome]:
        return self._jobs[job].page(after, limit) if job in self._jobs else []

    async def attempts(self, job: int, seq: int) -> list[AttemptRecord]:
        found = self._jobs.get(job)
        if found is None or seq >= len(found.items):
            return []
        return list(found.items[seq].tries)

    async def troubles(self, job: int) -> list[Trouble]:
        found = self._jobs.get(job)
        return found.troubles(TROUBLES) if found is not None else []

    async def spent(self, tenant: str) -> Spent:
        rows = [j.row for j in self._jobs.values() if j.row.tenant == tenant]
        return Spent(
            sum(row.input_tokens for row in rows),
            sum(row.output_tokens for row in rows),
            usd_of(sum(row.cost_nano for row in rows)),
        )

    async def queued(self, routes: Sequence[str] | None = None) -> int:
        return sum(
            job.see().counts.queued
            for job in self._jobs.values()
            if routes is None or job.row.route in routes
        )

    async def cancel(self, job: int) -> Job:
        return self._change(job, jobrow.cancelled)

    async def pause(self, job: int, reason: str) -> Job:
        return self._change(job, lambda row, now: jobrow.paused(row, reason, now))

    async def resume(self, job: int) -> Job:
        return self._change(job, jobrow.resumed)

    async def retry(self, job: int) -> int:
        found, now = self._find(job), self._clock.utc()
        expect(found.row, JobState.FINALIZING, *sorted(JOB_ENDS))
        again = found.row.ended_items - found.row.succeeded
        if again:
            found.retry(now)
            found.row = jobrow.retried(found.row, now)
        return again

    async def sweep(self) -> int:
        now = self._clock.utc()
        return sum(self._sweep(job, now) for job in self._jobs.values())

    def _sweep(self, job: MemoryJob, now: float) -> int:
        version = job.row.version
        job.row = jobrow.expired(job.row, now)
        if job.row.state == JobState.CANCELLING:
            state = UNFINISHED[job.row.ending]
            ends = job.end_unrun(job.pop(len(job.items)), state, now)
            job.settle(ends, now)
        job.row = jobrow.finished(job.row, now)
        return job.row.version - version

    async def conclude(self, job: int) -> Job:
        return self._change(job, jobrow.concluded)

    async def set_priority(self, job: int, priority: int) -> None:
        self._change(job, lambda row, _: replace(row, priority=priority))

    async def register(self, host: str, pid: int, lease_s: float) -> int:
        epoch = next(self._epochs)
        self._expires_at[epoch] = self._clock.utc() + lease_s
        return epoch

    async def flows(self, routes: Sequence[str]) -> list[Flow]:
        now = self._clock.utc()
        rows = [
            job.row
            for job in self._jobs.values()
            if job.row.state in MAY_RUN and job.row.route in routes and job.has_queued()
        ]
        rows.sort(key=lambda row: (-row.priority, row.number))
        return [
            Flow(
                row.number,
                row.id,
                row.route,
                Priority(row.priority),
                row.tenant,
                None if row.deadline_at is None else row.deadline_at - now,
                row.total - row.ended_items,
                key_in(row.metadata),
            )
            for row in rows
        ]

    async def lease(self, epoch: int, wants: Sequence[tuple[int, int]]) -> list[Leased]:
        if not self._is_alive(epoch):
            raise LeaseLost(f"the lease of owner {epoch} has run out")
        now = self._clock.utc()
        leased: list[Leased] = []
        for number, n in wants:
            job = self._jobs.get(number)
            if job is None or job.row.state not in MAY_RUN:
                continue
            taken = job.take(epoch, n, now)
            if taken and job.row.state == JobState.QUEUED:
                job.row = jobrow.started(job.row, now)
            leased += taken
        return leased

    async def release(self, epoch: int, held: Sequence[Leased]) -> None:
        now = self._clock.utc()
        for lease in held:
            if self._generation_held(lease.job, lease.seq, epoch) == lease.generation:
                job = self._jobs[lease.job]
                job.items[lease.seq].attempts = lease.attempts
                job.queue([lease.seq], now)

    def _generation_held(self, job: int, seq: int, epoch: int) -> int | None:
        found = self._jobs.get(job)
        return None if found is None else found.generation_held(seq, epoch)

    async def rescue(self, max_rescues: int) -> int:
        now, rescued = self._clock.utc(), 0
        alive = {epoch for epoch, at in self._expires_at.items() if at > now}
        for job in self._jobs.values():
            lost = sorted(s for s in job.running if job.items[s].owner not in alive)
            job.rescue(lost, max_rescues, now)
            rescued += len(lost)
        for epoch in set(self._expires_at) - alive:
            del self._expires_at[epoch]
        return rescued

    async def reclaim(self, job: int) -> int:
        found = self._find(job)
        running = sorted(found.running)
        found.rescue(running, None, self._clock.utc())
        return len(running)

    async def retire(self, epoch: int) -> None:
        for job in self._jobs.values():
            job.queue(job.held(epoch), self._clock.utc())
        self._expires_at.pop(epoch, None)

    async def record(
        self,
        epoch: int,
        finished: Sequence[Finished],
        tries: Sequence[tuple[int, AttemptRecord]] = (),
        rendered: Mapping[int, Mapping[str, int]] | None = None,
    ) -> Recorded:
        now = self._clock.utc()
        self._record_tries(epoch, tries)
        leases = [done.lease for done in finished]
        held = {
            lease.item: generation
            for lease in leases
            if (generation := self._generation_held(lease.job, lease.seq, epoch))
            is not None
        }
        touched = {lease.job for lease in leases} | {
            job_and_seq(key)[0] for key, _ in tries
        }
        touched = (touched | set(rendered or ())) & set(self._jobs)
        rows = {number: self._jobs[number].row for number in touched}
        written, sums = jobrow.number_outcomes(finished, held, rows)
        for done, number in written:
            self._jobs[done.lease.job].finish(done, number, now)
        for job, added in sums.items():
            its = self._jobs[job]
            its.row = jobrow.charged(its.row, added)
            its.settle(added.ends, now)
        for job in touched & set(rendered or ()):
            await self.mark_rendered(job, (rendered or {})[job])
        numbers = {done.lease.item: number for done, number in written}
        return Recorded(numbers, {n: self._jobs[n].see() for n in touched})

    def _record_tries(
        self, epoch: int, tries: Sequence[tuple[int, AttemptRecord]]
    ) -> None:
        for key, tried in tries:
            job, seq = job_and_seq(key)
            if self._generation_held(job, seq, epoch) == tried.generation:
                kept = replace(tried, message=text(tried.message))
                item = self._jobs[job].items[seq]
                item.tries = [*item.tries, kept]

    async def mark_rendered(self, job: int, rendered: Mapping[str, int]) -> None:
        encoded = jobrow.encode_rendered(rendered)
        self._change(job, lambda row, _: replace(row, rendered=encoded))

    async def remember(self, notes: Mapping[str, bytes]) -> None:
        now = self._clock.utc()
        fresh = {text(name): (value, now) for name, value in notes.items()}
        kept = {**self._notes, **fresh} if fresh else self._notes
        self._notes = {n: kept[n] for n in kept if kept[n][1] >= now - KEPT_S}

    async def recall(self, prefix: str) -> dict[str, bytes]:
        begins = text(prefix)
        names = sorted(name for name in self._notes if name.startswith(begins))
        return {name: self._notes[name][0] for name in names}

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        return _MemoryPulse(
            lambda: self._renew(epoch, lease_s), lambda: self._states(epoch)
        )

    def _renew(self, epoch: int, lease_s: float) -> bool:
        if not self._is_alive(epoch):
            return False
        self._expires_at[epoch] = self._clock.utc() + lease_s
        return True

    def _states(self, epoch: int) -> dict[int, JobState]:
        return {
            number: JobState(job.row.state)
            for number, job in tuple(self._jobs.items())
            if job.held(epoch)
        }

    def cache(self) -> Cache | None:
        return None

    def documents(self) -> Documents:
        return self._documents

    def file_pieces(self) -> FilePieces | None:
        return None

    async def close(self) -> None:
        return


class _MemoryPulse:
    """An owner's heartbeat; each step is atomic under the interpreter's lock."""

    def __init__(
        self, renew: Callable[[], bool], states: Callable[[], Mapping[int, JobState]]
    ) -> None:
        self._renew = renew
        self._states = states

    def renew(self) -> bool:
        return self._renew()

    def states(self) -> Mapping[int, JobState]:
        return self._states()

    def close(self) -> None:
        return
