"""One job of a store, as its user holds it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from headrace.errors import NotFound
from headrace.jobs import JOB_ENDS, Job
from headrace.model import Outcome
from headrace.ports import Store

_PAGE = 500


class Home(Protocol):
    """Where a job is kept, and who tells of its changes."""

    store: Store

    def look(self) -> None:
        """There may be new work in the store."""
        ...

    async def wait_change(self) -> None:
        """Wait until something may have changed, at most a second."""
        ...


class JobHandle:
    """One job, to watch and to steer."""

    def __init__(self, home: Home, job: Job) -> None:
        self._home = home
        self.job = job
        """As it was when last looked at; `refresh` looks again."""

    @property
    def id(self) -> str:
        return self.job.id

    async def refresh(self) -> Job:
        """Look at the job again.

        Raises:
            NotFound: it has been removed.
        """
        job = await self._home.store.job(self.job.number)
        if job is None:
            raise NotFound(f"job {self.id} has been removed")
        self.job = job
        return job

    async def progress(self) -> AsyncGenerator[Job, None]:
        """Yield the job now and whenever it has changed, until it has ended."""
        seen = -1
        while True:
            job = await self.refresh()
            if job.version != seen:
                seen = job.version
                yield job
            if job.state in JOB_ENDS:
                return
            await self._home.wait_change()

    async def outcomes(self, after: int = 0) -> AsyncGenerator[Outcome, None]:
        """Yield outcomes in the order they were recorded, until the job has ended.

        Args:
            after: `Outcome.number` to go on after; nothing is skipped or seen twice.
        """
        while True:
            ended = (await self.refresh()).state in JOB_ENDS
            page = await self._home.store.outcomes(self.job.number, after, _PAGE)
            for outcome in page:
                yield outcome
            if page:
                after = page[-1].number
            elif ended:
                return
            else:
                await self._home.wait_change()

    async def wait(self) -> Job:
        """Wait until the job has ended; return it."""
        async for _ in self.progress():
            pass
        return self.job

    async def cancel(self) -> Job:
        """Cancel what has not ended; what has, stays."""
        self.job = await self._home.store.cancel(self.job.number)
        while await self._home.store.sweep():
            pass
        return self.job

    async def pause(self, reason: str = "operator") -> Job:
        """Start no more of its items."""
        self.job = await self._home.store.pause(self.job.number, reason)
        return self.job

    async def resume(self) -> Job:
        """Go on with a paused job."""
        self.job = await self._home.store.resume(self.job.number)
        self._home.look()
        return self.job

    async def retry(self) -> int:
        """Run what failed, expired or was cancelled again; return how many items."""
        count = await self._home.store.retry(self.job.number)
        self._home.look()
        return count
