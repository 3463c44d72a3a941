"""A call may be cancelled at every await; its permits always return."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import a_bench, a_call
from headrace.errors import Overloaded
from headrace.model import Call, Endpoint, Limits, Retry
from headrace.simulation.virtual import run_virtual


async def _fails_now_and_then(call: Call, _endpoint: Endpoint) -> str:
    await asyncio.sleep(0.5)
    if call.trace.tries == 1 and call.index % 2:
        raise Overloaded("busy", status=503)
    return "done"


@pytest.mark.parametrize("rate", [None, 600])
def test_cancelling_at_every_await_returns_all_permits(rate: int | None) -> None:
    limits = Limits(in_flight=2, calls_per_minute=rate)

    async def cancelled_at(moment_s: float, steps: int, victim: int) -> None:
        retry = Retry(max_attempts=3)
        bench = a_bench(_fails_now_and_then, limits=limits, retry=retry)
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
