"""The gate's `async with` form, and what a ticket gives back at each end."""

from __future__ import annotations

import asyncio

import pytest

from engine_building import a_call
from headrace.engine.gate import Gate
from headrace.engine.shutdown import Drained
from headrace.errors import Overloaded
from headrace.events import EndpointView, unheard
from headrace.model import Endpoint, Limits, Priority, Quota, Usage
from headrace.simulation.virtual import VirtualClock, run_virtual


def a_gate(**limits: float) -> Gate:
    stated = {"in_flight": 1, **limits}
    return Gate((Endpoint("one", limits=Limits(**stated)),), VirtualClock(), unheard)


async def _hold(gate: Gate, seconds: float, name: str = "a", **fields: object) -> None:
    async with gate.admit(a_call(name, **fields)):
        await asyncio.sleep(seconds)


def test_a_block_holds_its_permits_until_it_ends() -> None:
    async def main() -> list[int]:
        gate, seen = a_gate(), []
        async with gate.admit(a_call()) as ticket:
            seen.append(gate.in_flight)
            assert ticket.endpoint.name == "one"
        return [*seen, gate.in_flight]

    assert run_virtual(main()) == [1, 0]


def test_a_block_may_say_what_the_call_cost() -> None:
    quotas = (Quota("tokens", 1_000.0),)

    async def main() -> EndpointView:
        gate = a_gate(tokens_per_minute=1_000, token_accounting="actual")
        async with gate.admit(a_call(tokens=500)) as ticket:
            ticket.succeeded(Usage(100, 0), quotas)
        return gate.views()[0]

    view = run_virtual(main())
    assert (view.in_flight, view.tokens_used, view.quotas) == (0, 0.1, quotas)


def test_a_call_error_that_leaves_the_block_counts_against_the_endpoint() -> None:
    async def main() -> str:
        gate = a_gate()
        for _ in range(5):
            with pytest.raises(Overloaded):
                async with gate.admit(a_call()):
                    raise Overloaded("busy", status=503)
        return gate.sites[0].breaker.state

    assert run_virtual(main()) == "open"


def test_any_other_error_says_nothing_of_the_endpoint() -> None:
    async def main() -> tuple[int, int]:
        gate = a_gate()
        with pytest.raises(ZeroDivisionError):
            async with gate.admit(a_call()):
                raise ZeroDivisionError
        return gate.in_flight, gate.sites[0].breaker.failures

    assert run_virtual(main()) == (0, 0)


def test_who_is_cancelled_with_the_permits_on_their_way_gives_them_back() -> None:
    async def main() -> tuple[int, int]:
        gate = a_gate()
        first = asyncio.create_task(_hold(gate, 1.0))
        second = asyncio.create_task(_hold(gate, 1.0))
        await first  # its end hands the slot over; the second has not yet run
        second.cancel()
        await asyncio.wait([second])
        return gate.in_flight, gate.waiting

    assert run_virtual(main()) == (0, 0)


def test_who_is_sent_home_and_cancelled_at_once_is_counted_once() -> None:
    async def main() -> tuple[int, int]:
        gate = a_gate()
        tasks = [asyncio.create_task(_hold(gate, 1.0)) for _ in range(3)]
        await asyncio.sleep(0.5)
        gate.drain()
        tasks[2].cancel()
        await asyncio.wait(tasks)
        assert isinstance(tasks[1].exception(), Drained)
        return gate.in_flight, gate.waiting

    assert run_virtual(main()) == (0, 0)


def test_waits_are_booked_on_what_the_head_waited_for_at_the_time() -> None:
    async def main() -> tuple[float, float]:
        gate = a_gate(in_flight=2, calls_per_minute=6)
        await _hold(gate, 0.0)  # the next start is 10 s from now
        calls = [a_call(str(i)) for i in range(3)]

        async def one(call: object, seconds: float) -> None:
            async with gate.admit(call):
                await asyncio.sleep(seconds)

        await asyncio.gather(*[one(c, 100.0) for c in calls])
        trace = calls[2].trace
        return trace.rate_s, trace.slot_s

    rate_s, slot_s = run_virtual(main())
    assert rate_s == pytest.approx(20.07, abs=0.2)  # two starts ahead of it
    assert rate_s + slot_s == pytest.approx(110.04, abs=0.2)


def test_an_urgent_call_that_comes_while_all_slots_are_taken_goes_first() -> None:
    async def main() -> list[str]:
        gate, order = a_gate(), []

        async def one(name: str, priority: Priority) -> None:
            async with gate.admit(a_call(name, priority=priority)):
                order.append(name)
                await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as group:
            for name in ("first", "low", "low"):
                group.create_task(one(name, Priority.LOW))
            await asyncio.sleep(0.5)
            group.create_task(one("urgent", Priority.URGENT))
        return order

    assert run_virtual(main()) == ["first", "urgent", "low", "low"]
