"""Who was served much is behind in the next process, too."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.engine.flownotes import FlowNotes
from headrace.model import Call, Endpoint, Limits, Priority
from headrace.simulation.virtual import VirtualClock, run_virtual


def notes_of(bench: Bench, route: str = "r") -> FlowNotes:
    return FlowNotes(bench.built.gate, VirtualClock(), route)


def test_a_tenant_that_was_served_much_is_behind_after_a_restart_too() -> None:
    order: list[str] = []

    async def answer(call: Call, _endpoint: Endpoint) -> str:
        order.append(call.tenant)
        return await answers_after(1.0)

    def asks(bench: Bench, tenant: str, count: int) -> list[asyncio.Task[object]]:

        return [
            asyncio.create_task(
                bench.call(
                    f"{tenant}-{i}",
                    index=i,
                    tenant=tenant,
                    flow=f"{tenant}/job",
                    priority=Priority.NORMAL,
                    tokens=100,
                )
            )
            for i in range(count)
        ]

    async def main() -> list[str]:
        one = Limits(in_flight=1)
        first = a_bench(answer, limits=one)
        tasks = asks(first, "greedy", 6) + asks(first, "other", 6)
        await asyncio.sleep(0.5)
        first.built.gate.correct_share(tasks_call(first, "greedy"), 1_000.0)
        notes = notes_of(first).notes()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        order.clear()
        second = a_bench(answer, limits=one)
        notes_of(second).recall(notes)
        await asyncio.gather(*asks(second, "greedy", 4), *asks(second, "other", 4))
        return order

    found = run_virtual(main())
    assert found[1:5] == ["other"] * 4


def tasks_call(bench: Bench, tenant: str) -> Call:
    """Return a call that waits, of that tenant."""
    for lane in bench.built.gate.lanes:
        for ticket in lane.queue:
            if ticket.call.tenant == tenant:
                return ticket.call
    raise AssertionError(tenant)


def test_a_debt_that_is_paid_is_noted_as_paid() -> None:
    async def main() -> bytes:
        bench = a_bench(lambda *_: answers_after(0.0), limits=Limits(in_flight=1))
        now = VirtualClock().utc()
        notes_of(bench).recall({"flow/r/low/t": b'{"debt":9,"at":%d}' % now})
        low = {"flow": "u/job", "priority": Priority.LOW}
        await asyncio.gather(*[bench.call(str(i), **low) for i in range(20)])
        return notes_of(bench).notes()["flow/r/low/t"]

    assert b'"debt":0.0' in run_virtual(main())


def test_debts_of_other_routes_and_old_ones_are_forgotten() -> None:
    async def main() -> dict[str, float]:
        bench = a_bench(lambda *_: answers_after(0.0))
        now = VirtualClock().utc()
        recent, old = b'{"debt":9,"at":%d}' % now, b'{"debt":9,"at":%d}' % (now - 4_000)
        notes_of(bench).recall({"flow/other/low/t": recent, "flow/r/low/t": old})
        return dict(bench.built.gate.lanes.debts)

    assert run_virtual(main()) == {}


def test_a_note_that_cannot_be_read_is_refused() -> None:
    async def main() -> None:
        bench = a_bench(lambda *_: answers_after(0.0))
        with pytest.raises(ValueError, match="debt"):
            notes_of(bench).recall({"flow/r/low/t": b"{}"})

    run_virtual(main())
