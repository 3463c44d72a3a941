"""One process at work on a store in memory: what it learns, and what it may pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from engine_building import Pupil, a_bench
from headrace.clock import SystemClock
from headrace.engine.served import Served
from headrace.engine.session import Session, SessionTools
from headrace.engine.shutdown import Drained, Shutdown
from headrace.events import Event, JobMoved, Listener, unheard
from headrace.jobs import Flow, Job, JobState, Leased
from headrace.model import Call, Endpoint, Limits, Outcome, Trace
from headrace.ports import Learner, Store
from headrace.stores.memory import MemoryStore
from headrace.testing.store_world import seen, submit

Answer = Callable[[Call, Endpoint], Awaitable[Any]]


class Silent:
    """Shows nothing."""

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        return

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        return {}


async def at_once(_call: Call, _endpoint: Endpoint) -> str:
    return "done"


def make_call(lease: Leased, flow: Flow) -> Call:
    return Call(f"{flow.job_id}-{lease.seq}", lease.seq, None, Trace())


def served(
    answer: Answer, learner: Learner | None = None, in_flight: int = 100
) -> Served:
    built = a_bench(answer, limits=Limits(in_flight=in_flight)).built
    return Served(
        "r",
        built.gate,
        built.handler,
        built.crew,
        make_call,
        str.encode,
        () if learner is None else (learner,),
    )


def a_session(
    store: Store,
    route: Served,
    until: Job | None = None,
    shutdown: Shutdown | None = None,
    listener: Listener = unheard,
) -> Session:
    tools = SessionTools(
        store, SystemClock(), Silent(), listener, shutdown or Shutdown()
    )
    return Session([route], tools, until)


def a_store() -> MemoryStore:
    return MemoryStore(SystemClock())


def test_a_session_recalls_what_the_former_one_has_learnt() -> None:
    async def main() -> dict[str, int]:
        store, pupil = a_store(), Pupil()
        job = await submit(store, 3)

        async def learns(_call: Call, _endpoint: Endpoint) -> str:
            pupil.learnt["here"] = 42
            return "done"

        await a_session(store, served(learns, pupil), job).run()
        later = Pupil()
        job = await submit(store, 1)
        await a_session(store, served(at_once, later), job).run()
        return later.learnt

    assert asyncio.run(main()) == {"here": 42}


def test_a_run_whose_job_it_pauses_itself_returns_after_the_calls_in_flight() -> None:
    async def main() -> Job:
        store = a_store()
        job = await submit(store, 20)
        session: Session

        async def pauses(call: Call, _endpoint: Endpoint) -> str:
            if call.index == 1:
                await session.pause_job(job.number, "budget: spent")
            return "done"

        session = a_session(store, served(pauses, in_flight=2), job)
        await session.run()
        return await seen(store, job)

    job = asyncio.run(main())
    assert (job.state, job.pause_reason) == (JobState.PAUSED, "budget: spent")
    assert 2 <= job.counts.succeeded < 10
    assert job.counts.queued == 20 - job.counts.succeeded


def test_a_layer_may_pause_the_job_and_put_its_own_call_back() -> None:
    async def main() -> Job:
        store = a_store()
        job = await submit(store, 20)
        session: Session
        route = served(at_once)

        async def refuses(call: Call) -> Any:
            if call.index < 5:
                return await route.handler(call)
            await session.pause_job(job.number, "budget: spent")
            raise Drained

        session = a_session(store, replace(route, handler=refuses), job)
        await session.run()
        return await seen(store, job)

    job = asyncio.run(main())
    assert job.state is JobState.PAUSED
    assert (job.counts.failed, job.counts.running) == (0, 0)
    assert job.counts.queued == 20 - job.counts.succeeded


def test_pausing_one_job_lets_the_others_of_the_route_go_on() -> None:
    async def main() -> tuple[Job, Job, int]:
        store, shutdown = a_store(), Shutdown()
        first, second = await submit(store, 10), await submit(store, 10)
        hold, begun, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
        session: Session
        started = 0

        async def waits(call: Call, _endpoint: Endpoint) -> str:
            nonlocal started
            if call.id.startswith(first.id):
                started += 1
                begun.set()
                await hold.wait()
            return "done"

        def hears(event: Event) -> None:
            if isinstance(event, JobMoved) and event.state is JobState.COMPLETED:
                done.set()

        route = served(waits, in_flight=1)
        session = a_session(store, route, None, shutdown, hears)
        running = asyncio.create_task(session.run())
        await begun.wait()
        await session.pause_job(first.number, "budget: spent")
        await session.pause_job(first.number, "twice changes nothing")
        hold.set()
        await done.wait()
        shutdown.request()
        await running
        return await seen(store, first), await seen(store, second), started

    first, second, started = asyncio.run(main())
    assert (first.state, first.pause_reason) == (JobState.PAUSED, "budget: spent")
    assert (first.counts.succeeded, started) == (1, 1)
    assert second.counts.succeeded == 10
