"""The store over SQL: every method is one or more transactions of a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from headrace.errors import JobError, StoreError
from headrace.jobs import (
    AttemptRecord,
    Finished,
    Flow,
    Job,
    Leased,
    NewItem,
    NewJob,
    Recorded,
    Spent,
    Trouble,
)
from headrace.model import Outcome
from headrace.ports import Cache, Documents, FilePieces, Pulse
from headrace.stores import (
    jobrow,
    steps_control,
    steps_intake,
    steps_leases,
    steps_notes,
    steps_records,
    steps_sums,
)
from headrace.stores.sqlcache import SqlCache
from headrace.stores.sqldocuments import SqlDocuments
from headrace.stores.sqlpieces import SqlFilePieces
from headrace.stores.statement import Steps

T = TypeVar("T")

NEWEST: Final = 2**62
"""Above any job's number."""


class Taken(StoreError):
    """A unique index refused a row."""


class Backend(Protocol):
    """Runs transactions on one database."""

    async def write(self, make: Callable[[], Steps[T]]) -> T:
        """Run a transaction that changes something.

        Raises:
            Taken: a unique index refused a row.
            StoreError: the database failed.
        """
        ...

    async def read(self, make: Callable[[], Steps[T]]) -> T:
        """Run a transaction that changes nothing; it never waits for a writer."""
        ...

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        """Return the heartbeat of an owner, with a connection of its own."""
        ...

    async def hold(self, epoch: int) -> None:
        """Show that an owner lives, for as long as this process does."""
        ...

    async def free(self, epoch: int) -> None:
        """Let an owner be seen dead that ended and could not say so; idempotent."""
        ...

    async def let_go(self, epoch: int) -> None:
        """Forget an owner that has ended or died; idempotent."""
        ...

    async def dead(self, epochs: Sequence[int]) -> list[int]:
        """Return those of these owners that are dead for certain; maybe none."""
        ...

    async def close(self) -> None:
        """Give back connections and threads; idempotent."""
        ...


class SqlStore:
    """The `Store` of `ports`, over SQLite or PostgreSQL."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def submit(self, new: NewJob, items: Sequence[NewItem]) -> tuple[Job, bool]:
        return await self._backend.write(lambda: steps_intake.submit(new, items))

    async def create(self, new: NewJob) -> tuple[Job, bool]:
        return await self._backend.write(lambda: steps_intake.create(new))

    async def add(self, job: int, items: Sequence[NewItem]) -> None:
        try:
            await self._backend.write(lambda: steps_intake.add(job, items))
        except Taken:
            found = await self._backend.read(
                lambda: steps_intake.find_duplicate(job, items)
            )
            raise found or JobError("items were added twice at once") from None

    async def seal(self, job: int) -> Job:
        return await self._backend.write(
            lambda: steps_control.change(jobrow.sealed, job)
        )

    async def remove(self, job: int) -> None:
        await self._backend.write(lambda: steps_intake.mark_removed(job))
        while await self._backend.write(lambda: steps_intake.remove_chunk(job)):
            pass

    async def job(self, ref: str | int) -> Job | None:
        if isinstance(ref, str) and "\0" in ref:
            return None  # no name holds one, and PostgreSQL does not even look
        return await self._backend.read(lambda: steps_records.find_job(ref))

    async def jobs(self, limit: int = 50, before: int | None = None) -> list[Job]:
        end = NEWEST if before is None else before
        return await self._backend.read(lambda: steps_records.list_jobs(limit, end))

    async def finalizing(self, routes: Sequence[str]) -> list[Job]:
        return await self._backend.read(lambda: steps_records.finalizing(routes))

    async def outcomes(
        self, job: int, after: int = 0, limit: int = 500
    ) -> list[Outcome]:
        page = steps_records.outcomes
        return await self._backend.read(lambda: page(job, after, limit))

    async def attempts(self, job: int, seq: int) -> list[AttemptRecord]:
        return await self._backend.read(lambda: steps_records.attempts(job, seq))

    async def troubles(self, job: int) -> list[Trouble]:
        return await self._backend.read(lambda: steps_sums.troubles(job))

    async def spent(self, tenant: str) -> Spent:
        return await self._backend.read(lambda: steps_sums.spent(tenant))

    async def queued(self, routes: Sequence[str] | None = None) -> int:
        return await self._backend.read(lambda: steps_sums.queued(routes))

    async def cancel(self, job: int) -> Job:
        return await self._backend.write(
            lambda: steps_control.change(jobrow.cancelled, job)
        )

    async def pause(self, job: int, reason: str) -> Job:
        return await self._backend.write(lambda: steps_control.pause(job, reason))

    async def resume(self, job: int) -> Job:
        return await self._backend.write(
            lambda: steps_control.change(jobrow.resumed, job)
        )

    async def retry(self, job: int) -> int:
        return await self._backend.write(lambda: steps_control.retry(job))

    async def sweep(self) -> int:
        job = await self._backend.read(lambda: steps_control.sweepable())
        if job is None:
            return 0
        return await self._backend.write(lambda: steps_control.sweep(job))

    async def conclude(self, job: int) -> Job:
        return await self._backend.write(
            lambda: steps_control.change(jobrow.concluded, job)
        )

    async def set_priority(self, job: int, priority: int) -> None:
        await self._backend.write(lambda: steps_control.set_priority(job, priority))

    async def register(self, host: str, pid: int, lease_s: float) -> int:
        epoch = await self._backend.write(
            lambda: steps_leases.register(host, pid, lease_s)
        )
        await self._backend.hold(epoch)
        return epoch

    async def flows(self, routes: Sequence[str]) -> list[Flow]:
        return await self._backend.read(lambda: steps_leases.flows(routes))

    async def lease(self, epoch: int, wants: Sequence[tuple[int, int]]) -> list[Leased]:
        return await self._backend.write(lambda: steps_leases.lease(epoch, wants))

    async def release(self, epoch: int, held: Sequence[Leased]) -> None:
        await self._backend.write(lambda: steps_leases.release(epoch, held))

    async def rescue(self, max_rescues: int) -> int:
        rescued = 0
        await self._bury()
        if await self._backend.read(lambda: steps_leases.needs_rescue()):
            step = steps_leases.rescue
            while found := await self._backend.write(lambda: step(max_rescues)):
                rescued += found
        return rescued

    async def _bury(self) -> None:
        """End the leases of owners that are dead for certain."""
        epochs = await self._backend.read(steps_leases.owners)
        dead = await self._backend.dead(epochs)
        if dead:
            await self._backend.write(lambda: steps_leases.bury(dead))
        for epoch in dead:
            await self._backend.let_go(epoch)

    async def reclaim(self, job: int) -> int:
        return await self._backend.write(lambda: steps_leases.reclaim(job))

    async def retire(self, epoch: int) -> None:
        try:
            await self._backend.write(lambda: steps_leases.retire(epoch))
        except BaseException:
            await self._backend.free(epoch)
            raise
        await self._backend.let_go(epoch)

    async def record(
        self,
        epoch: int,
        finished: Sequence[Finished],
        tries: Sequence[tuple[int, AttemptRecord]] = (),
        rendered: Mapping[int, Mapping[str, int]] | None = None,
    ) -> Recorded:
        group = steps_records.Group(epoch, finished, tries, rendered or {})
        return await self._backend.write(lambda: steps_records.record(group))

    async def mark_rendered(self, job: int, rendered: Mapping[str, int]) -> None:
        await self._backend.write(lambda: steps_records.mark_rendered(job, rendered))

    async def remember(self, notes: Mapping[str, bytes]) -> None:
        if notes:
            await self._backend.write(lambda: steps_notes.remember(notes))

    async def recall(self, prefix: str) -> dict[str, bytes]:
        return await self._backend.read(lambda: steps_notes.recall(prefix))

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        return self._backend.pulse(epoch, lease_s)

    def cache(self) -> Cache | None:
        return SqlCache(self._backend)

    def documents(self) -> Documents:
        return SqlDocuments(self._backend)

    def file_pieces(self) -> FilePieces | None:
        return SqlFilePieces(self._backend)

    async def close(self) -> None:
        await self._backend.close()
