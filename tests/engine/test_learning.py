"""What a gate has learnt survives it; what it thinks of an endpoint's health does not."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.engine.learning import Learning
from headrace.errors import ErrorCode, Overloaded, Throttled, Unreachable
from headrace.model import Call, Endpoint, Limits, Priority, Retry
from headrace.simulation.virtual import VirtualClock, run_virtual

FOUND = Limits(in_flight="auto")


async def busy_for(bench: Bench, calls: int, **fields: object) -> None:
    await asyncio.gather(
        *[bench.call(str(i), index=i, **fields) for i in range(calls)],
        return_exceptions=True,
    )


def learning_of(bench: Bench, route: str = "r") -> Learning:
    return Learning(bench.built.gate, VirtualClock(), route)


def test_the_next_process_begins_near_the_limit_that_was_found() -> None:
    in_flight = 0

    async def capped(_call: Call, _endpoint: Endpoint) -> str:
        nonlocal in_flight
        if in_flight >= 40:
            await asyncio.sleep(0.05)
            raise Throttled("too many at once", code=ErrorCode.TOO_MANY_CONCURRENT)
        in_flight += 1
        try:
            return await answers_after(1.0)
        finally:
            in_flight -= 1

    async def main() -> tuple[int, int, int]:
        first = a_bench(capped, limits=FOUND, retry=Retry(max_attempts=50))
        await busy_for(first, 1_500)
        second = a_bench(capped, limits=FOUND)
        before = second.built.gate.capacity
        learning_of(second).recall(learning_of(first).notes())
        return first.built.gate.capacity, before, second.built.gate.capacity

    found, before, after = run_virtual(main())
    assert 36 <= found <= 42
    assert before == 2
    assert 0.5 * found <= after <= found


def test_a_rate_that_was_refused_is_kept_to_by_the_next_process() -> None:
    async def refuses(_call: Call, _endpoint: Endpoint) -> str:
        raise Throttled("slow down", retry_after_s=5.0, dimension="calls")

    async def main() -> list[str]:
        first = a_bench(refuses, retry=Retry(max_attempts=2, total_s=30.0))
        await busy_for(first, 5, model="m")
        second = a_bench(refuses)
        learning_of(second).recall(learning_of(first).notes())
        (view,) = second.built.gate.views()
        return [f"{rate.model} {rate.dimension}" for rate in view.learnt]

    assert run_virtual(main()) == ["m calls"]


def test_breakers_start_closed() -> None:
    async def is_gone(_call: Call, _endpoint: Endpoint) -> str:
        raise Unreachable("refused")

    async def main() -> tuple[str, str]:
        first = a_bench(is_gone, retry=Retry(max_attempts=2, total_s=30.0))
        await busy_for(first, 20)
        second = a_bench(is_gone)
        learning_of(second).recall(learning_of(first).notes())
        (sick,), (new,) = first.built.gate.views(), second.built.gate.views()
        return sick.state, new.state

    assert run_virtual(main()) == ("open", "closed")


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
        notes = learning_of(first).notes()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        order.clear()
        second = a_bench(answer, limits=one)
        learning_of(second).recall(notes)
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


def test_notes_of_other_addresses_and_old_ones_are_left_alone() -> None:
    async def fails(_call: Call, _endpoint: Endpoint) -> str:
        raise Overloaded("no")

    async def main() -> int:
        bench = a_bench(fails, limits=FOUND)
        now = VirtualClock().utc()
        recent = b'{"address":"elsewhere","limit":99,"at":%d}' % now
        old = b'{"address":"one","limit":99,"at":%d}' % (now - 8 * 86_400)
        learning_of(bench).recall({"limit/elsewhere": recent, "limit/one": old})
        return bench.built.gate.capacity

    assert run_virtual(main()) == 2


def test_a_note_that_cannot_be_read_is_refused() -> None:
    async def main() -> None:
        bench = a_bench(lambda *_: answers_after(0.0), limits=FOUND)
        with pytest.raises(ValueError, match="address"):
            learning_of(bench).recall({"limit/one": b"{}"})

    run_virtual(main())
