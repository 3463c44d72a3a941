"""Direct calls that find too many waiting are refused; no permit is ever lost."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import Bench, a_bench, a_call, answers_after
from headrace.app import Terms
from headrace.engine.direct import answer
from headrace.errors import ConfigError, ErrorCode, Overloaded, QueueFull
from headrace.model import Call, Endpoint, ItemState, Limits, Outcome, Retry
from headrace.simulation.virtual import run_virtual


async def _ten_seconds(_call: Call, _endpoint: Endpoint) -> str:
    return await answers_after(10.0)


def _a_bench(max_waiting: int) -> Bench:
    terms = Terms(max_waiting=max_waiting)
    return a_bench(_ten_seconds, limits=Limits(in_flight=2), terms=terms)


async def _ask(bench: Bench, name: str) -> Outcome:
    return await answer(bench.built.direct, a_call(name), name, None)


def test_a_direct_call_that_finds_the_queue_full_is_refused_at_once() -> None:
    async def main() -> tuple[float, list[Outcome]]:
        bench = _a_bench(3)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ask(bench, str(i))) for i in range(5)]
            await asyncio.sleep(1)
            before = asyncio.get_running_loop().time()
            late = await _ask(bench, "late")
            spent_s = asyncio.get_running_loop().time() - before
        return spent_s, [late, *(t.result() for t in tasks)]

    spent_s, (late, *others) = run_virtual(main())
    assert spent_s == 0
    assert late.failure is not None
    assert late.failure.code is ErrorCode.QUEUE_FULL
    assert all(o.state is ItemState.SUCCEEDED for o in others)


def test_the_refusal_says_when_those_that_wait_now_should_be_gone() -> None:
    async def main() -> float:
        bench = _a_bench(6)
        direct = bench.built.direct.handler
        async with asyncio.TaskGroup() as group:

            async def keep_full() -> None:
                for _ in range(20):
                    await direct(a_call())

            for _ in range(8):
                group.create_task(keep_full())
            await asyncio.sleep(500)
            with pytest.raises(QueueFull) as refused:
                await direct(a_call())
        return refused.value.retry_after_s

    # Two leave each 10 s: who comes behind six waits about 35 s.
    assert run_virtual(main()) == pytest.approx(35, rel=0.35)


def test_the_items_of_jobs_are_never_refused() -> None:
    async def main() -> list[Outcome]:
        bench = _a_bench(0)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(bench.call(str(i))) for i in range(20)]
        return [c.result() for c in calls]

    assert all(o.state is ItemState.SUCCEEDED for o in run_virtual(main()))


def test_a_negative_queue_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="given -1"):
            _a_bench(-1)

    run_virtual(main())


async def _fails_now_and_then(call: Call, _endpoint: Endpoint) -> str:
    await asyncio.sleep(0.5)
    if call.trace.tries == 1 and call.index % 2:
        raise Overloaded("busy", status=503)
    return "done"


@pytest.mark.parametrize("rate", [None, 600])
def test_cancelling_at_every_await_returns_all_permits(rate: int | None) -> None:
    limits = Limits(in_flight=2, calls_per_minute=rate)

    async def cancelled_at(moment_s: float, steps: int, victim: int) -> None:
        terms = Terms(max_waiting=20)
        retry = Retry(max_attempts=3)
        bench = a_bench(_fails_now_and_then, limits=limits, retry=retry, terms=terms)
        direct = bench.built.direct.handler
        tasks = [asyncio.create_task(direct(a_call(str(i), index=i))) for i in range(6)]
        await asyncio.sleep(moment_s)
        for _ in range(steps):
            await asyncio.sleep(0)
        tasks[victim].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate = bench.built.gate
        assert (gate.in_flight, gate.waiting) == (0, 0)
        assert all(site.held == 0 for site in gate.sites)
        await asyncio.wait_for(direct(a_call("after")), 60)

    for moment_s in (0.0, 0.1, 0.5, 1.0):
        for steps in range(5):
            for victim in range(6):
                run_virtual(cancelled_at(moment_s, steps, victim))
