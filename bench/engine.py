"""Engine overhead: no-op coroutine calls in memory, beside what people write by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import uvloop
from aiolimiter import AsyncLimiter
from tenacity import retry, stop_after_attempt, wait_exponential

import headrace
from headrace.app import RouteTools, build, function_provider
from headrace.clock import SystemClock
from headrace.engine.crew import Crew
from headrace.engine.meter import Meter
from headrace.engine.runner import Runner, RunTools
from headrace.events import unheard
from headrace.model import Call, Cost, Endpoint, Limits, Retry, Trace
from measure import REPEATS, median, table, timed

Variant = Callable[[], Coroutine[Any, Any, None]]
Factory = Callable[[], asyncio.AbstractEventLoop]

ITEMS = 100_000
IN_FLIGHT = 100
PER_MINUTE = 6e9
"""A rate that never binds, so that its cost is measured and not its effect."""
LIMITS = Limits(
    in_flight=IN_FLIGHT, calls_per_minute=PER_MINUTE, tokens_per_minute=PER_MINUTE
)


async def _nothing(item: int) -> int:
    """A call that takes no time but lets others run, so that callers meet at the gate."""
    await asyncio.sleep(0)
    return item


async def bare_workers() -> None:
    """The floor: workers over one iterator."""
    items = iter(range(ITEMS))

    async def work() -> None:
        for item in items:
            await _nothing(item)

    await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])


async def by_hand() -> None:
    """tenacity + two limiters + Semaphore + timeout + gather."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    calls = AsyncLimiter(1e9, 60)
    tokens = AsyncLimiter(1e9, 60)

    @retry(stop=stop_after_attempt(5), wait=wait_exponential())
    async def one(item: int) -> int:
        async with slots:
            await calls.acquire()
            await tokens.acquire(10)
            async with asyncio.timeout(60):
                return await _nothing(item)

    await asyncio.gather(*[one(i) for i in range(ITEMS)])


async def ours() -> None:
    """Headrace with every policy on, and twice as many callers as slots."""
    clock = SystemClock()
    tools = RouteTools(clock, unheard)
    provider = function_provider(_nothing, "coroutine", IN_FLIGHT)
    endpoints = (Endpoint("function", limits=LIMITS),)
    built = build(provider, endpoints, Retry(max_attempts=5), 60.0, tools)
    crew = Crew(2 * IN_FLIGHT)
    run_tools = RunTools(
        handler=built.handler,
        crew=crew,
        meter=Meter(built.gate, crew, clock),
        clock=clock,
        make_call=lambda i, item: Call(str(i), i, item, Trace(), cost=Cost(10)),
        ahead=4 * IN_FLIGHT,
    )
    async for _ in Runner(range(ITEMS), run_tools).outcomes(None):
        pass
    await built.close()


async def ours_by_the_library() -> None:
    """The same through `headrace.stream`, which takes as many callers as it finds best."""
    async for _ in headrace.stream(_nothing, range(ITEMS), limits=LIMITS, tokens=_ten):
        pass


def _ten(_item: object) -> int:
    return 10


VARIANTS: dict[str, Variant] = {
    "bare_workers": bare_workers,
    "by_hand": by_hand,
    "ours": ours,
    "ours_by_the_library": ours_by_the_library,
}
LOOPS: dict[str, Factory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def measured(loop_name: str, variant: str) -> float:
    """Return the processor time of one variant, in µs an item."""
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        return timed(lambda: runner.run(VARIANTS[variant]()))[1] / ITEMS * 1e6


def main() -> None:
    rows = []
    # A process for each run: what 100,000 tasks leave of the heap slows whoever is next.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as fresh:
        for loop_name in LOOPS:
            runs: dict[str, list[float]] = {name: [] for name in VARIANTS}
            for _ in range(REPEATS):
                for name, found in runs.items():
                    found.append(fresh.submit(measured, loop_name, name).result())
            hand = median(runs["by_hand"])
            for name, found in runs.items():
                us = median(found)
                rows.append([loop_name, name, f"{us:.1f}", f"{us / hand:.2f}"])
    table(
        f"Engine overhead, {ITEMS:,} no-op calls, {IN_FLIGHT} in flight",
        ["loop", "variant", "µs of processor an item", "of by_hand"],
        rows,
    )


if __name__ == "__main__":
    main()
