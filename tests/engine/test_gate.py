from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from engine_building import a_bench, answers_after
from headrace.model import Call, Endpoint, Limits, Priority, Reply, Usage
from headrace.simulation.virtual import run_virtual


async def _second(_call: Any, _endpoint: Any) -> str:
    return await answers_after(1.0)


def test_no_more_calls_are_in_flight_than_the_limit_allows() -> None:
    async def main() -> int:
        bench = a_bench(_second, limits=Limits(in_flight=7))
        await asyncio.gather(*[bench.call(str(i)) for i in range(50)])
        return bench.provider.peak

    assert run_virtual(main()) == 7


def test_calls_start_as_soon_as_a_slot_is_free() -> None:
    async def main() -> float:
        bench = a_bench(_second, limits=Limits(in_flight=5))
        await asyncio.gather(*[bench.call(str(i)) for i in range(50)])
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(1_010.0)


def test_calls_wait_for_their_rate_and_start_evenly() -> None:
    async def main() -> list[float]:
        limits = Limits(in_flight=100, calls_per_minute=60)
        bench = a_bench(_second, limits=limits)
        await asyncio.gather(*[bench.call(str(i)) for i in range(10)])
        return [at for at, _, _ in bench.provider.started]

    starts = run_virtual(main())
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps) > 0.9
    assert max(gaps) == pytest.approx(60.22 / 60, rel=1e-3)


def test_an_urgent_call_overtakes_those_that_wait_for_a_slot() -> None:
    async def main() -> list[str]:
        bench = a_bench(_second, limits=Limits(in_flight=1))
        async with asyncio.TaskGroup() as group:
            for i in range(4):
                group.create_task(bench.call(f"low-{i}", priority=Priority.LOW))
            await asyncio.sleep(0.5)
            group.create_task(bench.call("urgent", priority=Priority.URGENT))
        return [name for _, name, _ in bench.provider.started]

    assert run_virtual(main()).index("urgent") == 1


def test_an_urgent_call_takes_the_rate_reservation_of_the_head() -> None:
    async def main() -> list[str]:
        limits = Limits(in_flight=10, calls_per_minute=60)
        bench = a_bench(_second, limits=limits)
        async with asyncio.TaskGroup() as group:
            for i in range(3):
                group.create_task(bench.call(f"low-{i}", priority=Priority.LOW))
            await asyncio.sleep(0.5)
            group.create_task(bench.call("urgent", priority=Priority.URGENT))
        return [name for _, name, _ in bench.provider.started]

    assert run_virtual(main()) == ["low-0", "urgent", "low-1", "low-2"]


def test_cancelling_a_waiting_call_leaves_room_for_the_next() -> None:
    async def main() -> tuple[float, int]:
        bench = a_bench(_second, limits=Limits(in_flight=1))
        first = asyncio.create_task(bench.call("first"))
        second = asyncio.create_task(bench.call("second"))
        third = asyncio.create_task(bench.call("third"))
        await asyncio.sleep(0.5)
        second.cancel()
        await asyncio.gather(first, third)
        return asyncio.get_running_loop().time(), bench.built.gate.in_flight

    assert run_virtual(main()) == (pytest.approx(1_002.0), 0)


def test_cancelling_a_call_at_any_moment_returns_all_permits() -> None:
    async def main(moment_s: float) -> tuple[int, int]:
        limits = Limits(in_flight=2, calls_per_minute=120)
        bench = a_bench(_second, limits=limits)
        tasks = [asyncio.create_task(bench.call(str(i))) for i in range(6)]
        await asyncio.sleep(moment_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return bench.built.gate.in_flight, bench.built.gate.waiting

    for tenth in range(40):
        assert run_virtual(main(tenth / 10)) == (0, 0)


def test_a_call_dearer_than_its_limit_is_refused_at_once() -> None:
    async def main() -> tuple[str, float]:
        bench = a_bench(_second, limits=Limits(tokens_per_minute=100))
        outcome = await bench.call("dear", tokens=101)
        assert outcome.failure is not None
        return outcome.failure.code, asyncio.get_running_loop().time()

    assert run_virtual(main()) == ("too_costly", 1_000.0)


def test_the_endpoint_with_more_room_is_taken() -> None:
    async def main() -> dict[str, int]:
        pool = (
            Endpoint("small", limits=Limits(in_flight=2)),
            Endpoint("large", limits=Limits(in_flight=8)),
        )
        bench = a_bench(_second, endpoints=pool)
        await asyncio.gather(*[bench.call(str(i)) for i in range(10)])
        names = [endpoint for _, _, endpoint in bench.provider.started]
        return {name: names.count(name) for name in ("small", "large")}

    assert run_virtual(main()) == {"small": 2, "large": 8}


def test_a_waiting_call_says_what_it_waited_for() -> None:
    async def main() -> tuple[float, float]:
        limits = Limits(in_flight=1, calls_per_minute=30)
        bench = a_bench(_second, limits=limits)
        outcomes = await asyncio.gather(*[bench.call(str(i)) for i in range(2)])
        trace = outcomes[1].trace
        return trace.slot_s, trace.rate_s

    slot_s, rate_s = run_virtual(main())
    assert slot_s == pytest.approx(1.0)
    assert rate_s == pytest.approx(60.22 / 30 - 1.0, abs=0.11)


def test_two_models_wait_apart_but_share_the_slots() -> None:
    async def main() -> int:
        bench = a_bench(_second, limits=Limits(in_flight=3))
        calls = [bench.call(str(i), model="ab"[i % 2]) for i in range(12)]
        await asyncio.gather(*calls)
        return bench.provider.peak

    assert run_virtual(main()) == 3


def test_draining_sends_home_who_waits_and_lets_who_runs_finish() -> None:
    async def main() -> list[str]:
        bench = a_bench(_second, limits=Limits(in_flight=2))
        tasks = [asyncio.create_task(bench.call(str(i))) for i in range(5)]
        await asyncio.sleep(0.5)
        bench.built.gate.drain()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(r).__name__ for r in results]

    assert run_virtual(main()) == [
        "Outcome",
        "Outcome",
        "Drained",
        "Drained",
        "Drained",
    ]


def test_a_flow_pays_for_what_its_calls_really_cost() -> None:
    async def answer(call: Call, _endpoint: Any) -> Reply:
        await asyncio.sleep(1.0)
        dear = call.flow == "dear"
        return Reply("done", usage=Usage(0, 1_000 if dear else 10))

    async def main() -> list[str]:
        bench = a_bench(answer, limits=Limits(in_flight=1))
        calls = [
            bench.call(f"{flow}-{i}", flow=flow, tokens=10)
            for i in range(10)
            for flow in ("dear", "cheap")
        ]
        await asyncio.gather(*calls)
        return [name for _, name, _ in bench.provider.started]

    first = run_virtual(main())[:8]
    assert sum(name.startswith("cheap") for name in first) >= 6
