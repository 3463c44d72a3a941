"""Jobs of routes that are served for ever, while their upstream does not serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine_building import a_bench
from headrace.clock import SystemClock
from headrace.engine.served import Served
from headrace.engine.session import Session, SessionTools
from headrace.engine.shutdown import Shutdown
from headrace.engine.vigil import Patience, Vigil
from headrace.errors import CallError, StoreFull, Unauthorised, Unreachable
from headrace.events import unheard
from headrace.jobs import Flow, Job, JobState, Leased, Recorded
from headrace.model import Call, Endpoint, Limits, Outcome, Trace
from headrace.stores.memory import MemoryStore
from headrace.testing.store_world import seen, submit

pytestmark = pytest.mark.slow
SOON = Patience(0.2, 0.2, models_are_items=True, advice="mend it")


class Sick:
    """An upstream that fails until it is mended."""

    def __init__(self, error: Callable[[], CallError]) -> None:
        self._error = error
        self.is_mended = False
        self.asked = 0
        self.tried = asyncio.Event()

    async def answer(self, _call: Call, _endpoint: Endpoint) -> str:
        self.asked += 1
        if self.asked >= 3:
            self.tried.set()
        if self.is_mended:
            return "done"
        raise self._error()


@asynccontextmanager
async def at_work(store: MemoryStore, sick: Sick) -> AsyncIterator[Session]:
    """Serve the route for ever before a sick upstream."""
    clock, shutdown = SystemClock(), Shutdown()
    vigil = Vigil(clock, SOON)
    limits = Limits(in_flight=4)
    built = a_bench(sick.answer, limits=limits, vigil=vigil).built
    route = Served("r", built.gate, built.handler, built.crew, _call, str.encode, ())
    tools = SessionTools(store, clock, Silent(), unheard, shutdown, {"r": vigil})
    session = Session([route], tools)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        shutdown.request()
        shutdown.request()
        await asyncio.wait([running])


def _call(lease: Leased, flow: Flow) -> Call:
    return Call(f"{flow.job_id}-{lease.seq}", lease.seq, None, Trace())


class Silent:
    """Shows nothing."""

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        return

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        return {}


async def until(store: MemoryStore, job: Job, state: JobState) -> Job:
    """Wait until a job is in a state."""
    clock = SystemClock()
    while (now := await seen(store, job)).state is not state:
        await clock.sleep(0.01)
    return now


def test_a_job_waits_for_an_upstream_and_goes_on_by_itself() -> None:
    async def main() -> tuple[Job, Job]:
        store, sick = MemoryStore(SystemClock()), Sick(lambda: Unreachable("refused"))
        job = await submit(store, 10)
        async with at_work(store, sick):
            await sick.tried.wait()
            await SystemClock().sleep(0.5)  # longer than its patience
            meanwhile = await seen(store, job)
            sick.is_mended = True
            return meanwhile, await until(store, job, JobState.COMPLETED)

    meanwhile, done = asyncio.run(main())
    assert (meanwhile.state, meanwhile.counts.ended) == (JobState.IN_PROGRESS, 0)
    assert done.counts.succeeded == 10


def test_a_refused_key_pauses_its_jobs_until_it_is_another() -> None:
    async def main() -> tuple[Job, int, Job]:
        store, sick = MemoryStore(SystemClock()), Sick(lambda: Unauthorised("bad key"))
        job = await submit(store, 10)
        async with at_work(store, sick) as session:
            await until(store, job, JobState.PAUSED)
            while (paused := await seen(store, job)).counts.running:
                await SystemClock().sleep(0.05)
            sick.is_mended = True
            resumed = await session.resume_jobs()
            return paused, resumed, await until(store, job, JobState.COMPLETED)

    paused, resumed, done = asyncio.run(main())
    assert paused.pause_reason.startswith("upstream: no endpoint answered for 0.2 s")
    assert "bad key" in paused.pause_reason
    assert paused.pause_reason.endswith("mend it")
    assert (paused.counts.queued, resumed, done.counts.succeeded) == (10, 1, 10)


def test_a_new_process_tries_again_what_was_paused_for_its_upstream() -> None:
    async def main() -> list[JobState]:
        store, sick = MemoryStore(SystemClock()), Sick(lambda: Unauthorised("bad key"))
        sick.is_mended = True
        refused, held = await submit(store, 2), await submit(store, 2)
        await store.pause(refused.number, "upstream: bad key")
        await store.pause(held.number, "operator")
        async with at_work(store, sick):
            await until(store, refused, JobState.COMPLETED)
        return [(await seen(store, job)).state for job in (refused, held)]

    assert asyncio.run(main()) == [JobState.COMPLETED, JobState.PAUSED]


class Filled(MemoryStore):
    """A store without room for outcomes, until somebody makes some."""

    has_room = False
    refused = 0

    async def record(self, *given: Any) -> Recorded:
        if not self.has_room:
            self.refused += 1
            raise StoreFull("the disk is full")
        return await super().record(*given)


def test_a_full_disk_ends_nothing_and_loses_nothing() -> None:
    async def main() -> tuple[int, Job]:
        store, sick = Filled(SystemClock()), Sick(lambda: Unreachable("refused"))
        sick.is_mended = True
        job = await submit(store, 10)
        async with at_work(store, sick):
            while not store.refused:
                await SystemClock().sleep(0.01)
            store.has_room = True
            return store.refused, await until(store, job, JobState.COMPLETED)

    refused, done = asyncio.run(main())
    assert (refused, done.counts.succeeded) == (1, 10)
