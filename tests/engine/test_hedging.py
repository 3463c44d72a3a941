"""Second calls beside slow ones: who wins, who pays, and that no permit leaks."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from engine_building import Bench, a_bench, a_call, answers_after
from headrace.app import Terms
from headrace.engine.budgeting import Money
from headrace.errors import BadCall, Overloaded
from headrace.model import (
    Call,
    Endpoint,
    ItemState,
    Limits,
    Outcome,
    Reply,
    Retry,
    Usage,
)
from headrace.simulation.virtual import run_virtual
from headrace.terms import Hedge, Price

RULES = Hedge(min_samples=10, budget=0.5, min_s=1.0)
PRICE = Price(Decimal(1), Decimal(1))


def two(slots: int = 8) -> tuple[Endpoint, ...]:
    limits = Limits(in_flight=slots)
    return Endpoint("a", limits=limits), Endpoint("b", limits=limits)


class Slow:
    """Answers in a second; a call named `slow…` takes a minute at its first endpoint."""

    def __init__(self, second: Any = None) -> None:
        self.met: dict[str, int] = {}
        self._second = second

    async def __call__(self, call: Call, endpoint: Endpoint) -> Reply:
        self.met[call.id] = self.met.get(call.id, 0) + 1
        if call.id.startswith("slow"):
            if self.met[call.id] == 1:
                await asyncio.sleep(60)
            elif self._second is not None:
                await self._second()
        await asyncio.sleep(1)
        return Reply(endpoint.name, usage=Usage(call.cost.tokens, 0))


async def a_warm_bench(answer: Any, **more: Any) -> Bench:
    terms = Terms(Money((PRICE,)), more.pop("hedge", RULES), **more.pop("terms", {}))
    pool = more.pop("pool", two())
    bench = a_bench(answer, endpoints=pool, terms=terms, timeout_s=600, **more)
    for i in range(30):
        await bench.call(f"warm{i}")
    return bench


def is_idle(bench: Bench) -> bool:
    gate = bench.built.gate
    return not gate.in_flight and not gate.waiting and not bench.provider.running


def test_the_second_call_goes_elsewhere_and_its_answer_counts() -> None:
    async def main() -> tuple[Outcome, float, list[str], bool]:
        bench = await a_warm_bench(Slow())
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        outcome = await bench.call("slow", tokens=1_000_000)
        sent = [where for _, name, where in bench.provider.started if name == "slow"]
        return outcome, loop.time() - began_at, sent, is_idle(bench)

    outcome, took_s, sent, idle = run_virtual(main())
    assert sorted(sent) == ["a", "b"]
    assert outcome.value == outcome.trace.endpoint == sent[1]
    assert 2.0 <= took_s <= 2.2
    assert (outcome.trace.hedges, outcome.trace.hedges_won) == (1, 1)
    assert (outcome.attempts, outcome.trace.tries) == (1, 2)
    assert outcome.trace.in_flight_s == pytest.approx(took_s)
    assert idle


def test_the_loser_is_paid_for_as_well() -> None:
    async def main() -> Outcome:
        return await (await a_warm_bench(Slow())).call("slow", tokens=1_000_000)

    assert run_virtual(main()).cost_usd == Decimal(2)


def test_a_first_call_that_still_answers_first_cancels_the_second() -> None:
    async def main() -> tuple[Outcome, bool]:
        bench = await a_warm_bench(Slow(lambda: asyncio.sleep(500)))
        return await bench.call("slow"), is_idle(bench)

    outcome, idle = run_virtual(main())
    assert (outcome.trace.hedges, outcome.trace.hedges_won) == (1, 0)
    assert outcome.trace.in_flight_s == pytest.approx(61)
    assert idle


async def _fails() -> None:
    raise BadCall("second")


def test_an_error_of_the_second_call_does_not_end_the_first() -> None:
    async def main() -> Outcome:
        return await (await a_warm_bench(Slow(_fails))).call("slow")

    outcome = run_virtual(main())
    assert outcome.ok
    assert outcome.trace.hedges_won == 0


def test_an_error_of_the_first_does_not_end_the_second() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        if call.id == "slow" and not call.avoid:
            await asyncio.sleep(1.5)
            raise Overloaded("first")
        return await answers_after(1)

    async def main() -> Outcome:
        return await (await a_warm_bench(answer)).call("slow")

    outcome = run_virtual(main())
    assert outcome.ok
    assert outcome.trace.hedges_won == 1


def test_if_both_fail_the_first_ones_error_counts() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        if call.id == "slow":
            await asyncio.sleep(3)
            raise BadCall("second" if call.avoid else "first")
        return await answers_after(1)

    async def main() -> tuple[Outcome, bool]:
        bench = await a_warm_bench(answer)
        return await bench.call("slow"), is_idle(bench)

    outcome, idle = run_virtual(main())
    assert outcome.failure is not None
    assert outcome.failure.message == "first"
    assert outcome.trace.hedges == 1
    assert idle


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"hedge": None}, {}),
        ({"pool": two()[:1]}, {}),
        ({"terms": {"streams": lambda call: True}}, {}),
        ({"hedge": Hedge(min_samples=10, budget=0.01)}, {}),
        ({}, {"repeatable": False}),
    ],
    ids=["off", "one endpoint", "a stream", "over budget", "not repeatable"],
)
def test_some_calls_are_never_made_twice(
    more: dict[str, Any], fields: dict[str, Any]
) -> None:
    async def main() -> Outcome:
        return await (await a_warm_bench(Slow(), **more)).call("slow", **fields)

    outcome = run_virtual(main())
    assert (outcome.trace.tries, outcome.trace.hedges) == (1, 0)


def test_no_second_call_is_made_while_others_wait_or_the_rest_is_full() -> None:
    async def main() -> list[Outcome]:
        bench = await a_warm_bench(Slow(), pool=two(2))
        calls = [bench.call(f"slow{i}") for i in range(4)]
        return list(await asyncio.gather(*calls))

    assert [o.trace.hedges for o in run_virtual(main())] == [0, 0, 0, 0]


def test_the_delay_counts_from_when_the_call_was_sent() -> None:
    async def main() -> tuple[float, float]:
        bench = await a_warm_bench(Slow(), pool=two(1))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        holding = [asyncio.create_task(bench.call(f"warm{i}")) for i in range(2)]
        await asyncio.sleep(0.1)
        outcome = await bench.call("slow")
        await asyncio.gather(*holding)
        at = [at for at, name, _ in bench.provider.started if name == "slow"]
        assert outcome.trace.hedges == 1
        return at[0] - began_at, at[1] - began_at

    first, second = run_virtual(main())
    assert first == pytest.approx(1.0)
    assert 2.0 <= second <= 2.3


@pytest.mark.parametrize("moment", range(28))
def test_wherever_it_is_cancelled_no_permit_leaks(moment: int) -> None:
    async def main() -> tuple[bool, ItemState]:
        bench = await a_warm_bench(Slow(lambda: asyncio.sleep(0.3)), pool=two(2))
        task = asyncio.create_task(bench.call("slow"))
        await asyncio.sleep(moment // 2 * 0.2)
        for _ in range(moment % 2 * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return is_idle(bench), (await bench.call("after")).state

    assert run_virtual(main()) == (True, ItemState.SUCCEEDED)


def test_a_second_call_that_finds_no_room_never_waits_at_the_gate() -> None:
    async def main() -> tuple[ItemState, int]:
        bench = a_bench(lambda _c, _e: answers_after(5), endpoints=two(1))
        held = asyncio.create_task(bench.built.handler(a_call("x", avoid="b")))
        await asyncio.sleep(1)
        second = await bench.call("y", avoid="b")
        waiting = bench.built.gate.waiting
        await held
        return second.state, waiting

    assert run_virtual(main()) == (ItemState.FAILED, 0)


def test_a_retry_after_both_failed_is_made_as_ever() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        if call.id == "slow" and call.trace.tries <= 2:
            await asyncio.sleep(3)
            raise Overloaded("busy", retry_after_s=1)
        return await answers_after(1)

    async def main() -> Outcome:
        bench = await a_warm_bench(answer, retry=Retry(max_attempts=3))
        return await bench.call("slow")

    outcome = run_virtual(main())
    assert outcome.ok
    assert outcome.trace.tries == 3
