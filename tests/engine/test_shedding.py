"""A gate whose queue is bounded refuses at once, and says when to come again."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import Bench, a_bench, a_call, answers_after
from headrace.engine.shedding import Shedding
from headrace.errors import ErrorCode, QueueFull
from headrace.model import Call, Endpoint, Limits
from headrace.simulation.virtual import run_virtual


async def answer(_call: Call, _endpoint: Endpoint) -> str:
    return await answers_after(2.0)


def a_shedding_bench(max_waiting: int, in_flight: int = 2) -> Bench:
    bench = a_bench(answer, limits=Limits(in_flight=in_flight))
    bench.built.gate.shedding = Shedding(max_waiting)
    return bench


def test_one_more_than_may_wait_is_refused_with_the_wait_it_would_have() -> None:
    async def main() -> tuple[list[bool], float]:
        bench = a_shedding_bench(10)
        await asyncio.gather(*[bench.call(str(i)) for i in range(12)])
        waiting = [asyncio.create_task(bench.call(str(i))) for i in range(12)]
        await asyncio.sleep(0.1)
        outcome = await bench.call("late")
        assert outcome.failure is not None
        assert outcome.failure.code is ErrorCode.QUEUE_FULL
        with pytest.raises(QueueFull, match="10 calls wait already") as caught:
            bench.built.gate.enter(a_call("later"))
        outcomes = await asyncio.gather(*waiting)
        return [each.ok for each in outcomes], caught.value.retry_after_s

    oks, retry_after_s = run_virtual(main())
    assert all(oks)
    assert retry_after_s == pytest.approx(11.0, rel=0.25)  # 11 at one a second


def test_items_of_jobs_and_second_tries_are_never_refused() -> None:
    async def main() -> list[bool]:
        bench = a_shedding_bench(0)
        items = [bench.call(str(i), job=7) for i in range(6)]
        return [each.ok for each in await asyncio.gather(*items)]

    assert run_virtual(main()) == [True] * 6


def test_with_no_room_to_wait_a_free_slot_is_still_taken() -> None:
    async def main() -> list[bool]:
        bench = a_shedding_bench(0)
        outcomes = await asyncio.gather(*[bench.call(str(i)) for i in range(3)])
        return [each.ok for each in outcomes]

    assert run_virtual(main()) == [True, True, False]
