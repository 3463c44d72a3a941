"""Calls are paid for before they are sent: waits, refusals, and what counts as spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from engine_building import Bench, a_bench, a_call, answers_after
from headrace.app import Terms
from headrace.engine.budgeting import Money
from headrace.errors import BadCall, BudgetSpent, ErrorCode
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
from headrace.policies.budget import Amount
from headrace.simulation.virtual import run_virtual
from headrace.terms import Budget, Price

MILLION = 1_000_000
A_DOLLAR_A_MILLION = Price(Decimal(1), Decimal(1))


def a_paying_bench(answer: Any, budget: Budget | None, **more: Any) -> Bench:
    money = Money(more.pop("prices", (A_DOLLAR_A_MILLION,)), budget)
    return a_bench(answer, terms=Terms(money), **more)


async def uses_half(call: Call, _: Endpoint) -> Reply:
    await asyncio.sleep(1)
    return Reply("done", usage=Usage(call.cost.tokens // 2, 0))


async def several(bench: Bench, count: int, tokens: int) -> list[Outcome]:
    calls = [bench.call(f"c{i}", tokens=tokens, job=7) for i in range(count)]
    return list(await asyncio.gather(*calls))


def states(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome.state) for outcome in outcomes]


def test_an_outcome_says_what_it_cost() -> None:
    async def main() -> Outcome:
        return await a_paying_bench(uses_half, None).call(tokens=MILLION)

    assert run_virtual(main()).cost_usd == Decimal("0.5")


def test_without_a_known_price_nothing_is_said_of_cost() -> None:
    async def main() -> Outcome:
        bench = a_paying_bench(uses_half, None, prices=(), retry=Retry())
        return await bench.call(tokens=MILLION)

    assert run_virtual(main()).cost_usd is None


def test_what_the_budget_does_not_pay_for_is_not_sent() -> None:
    async def main() -> tuple[Outcome, int]:
        bench = a_paying_bench(uses_half, Budget(Decimal("0.9")))
        outcome = await bench.call(tokens=MILLION, job=7)
        return outcome, len(bench.provider.started)

    outcome, sent = run_virtual(main())
    assert outcome.state is ItemState.SKIPPED
    assert outcome.failure is not None
    assert outcome.failure.code is ErrorCode.BUDGET_SPENT
    assert "0.00 of 0.90 USD spent" in outcome.failure.message
    assert sent == 0


def test_a_call_waits_while_those_under_way_may_leave_enough() -> None:
    async def main() -> tuple[list[Outcome], list[float]]:
        bench = a_paying_bench(uses_half, Budget(Decimal(2)))
        outcomes = await several(bench, 4, MILLION)
        return outcomes, [at for at, _, _ in bench.provider.started]

    outcomes, started = run_virtual(main())
    # Two reserve all; when they end, half of it is free, which pays for a third; at its
    # end 0.5 is left, and no fourth call is paid for.
    assert states(outcomes) == ["succeeded"] * 3 + ["skipped"]
    assert [at - started[0] for at in started] == [0.0, 0.0, 1.0]


def test_the_budgets_of_two_jobs_do_not_touch() -> None:
    async def main() -> list[Outcome]:
        bench = a_paying_bench(uses_half, Budget(tokens=100))
        return list(
            await asyncio.gather(
                *(bench.call(tokens=100, job=job) for job in (1, 2)),
                bench.call(tokens=101, job=3),
            )
        )

    assert states(run_virtual(main())) == ["succeeded", "succeeded", "skipped"]


def test_all_jobs_of_a_tenant_share_its_budget() -> None:
    async def main() -> list[Outcome]:
        money = Money(tenant_budget=Budget(tokens=150))
        bench = a_bench(uses_half, terms=Terms(money))
        first = await bench.call(tokens=100, job=1, tenant="a")
        second = await bench.call(tokens=101, job=2, tenant="a")
        other = await bench.call(tokens=150, job=3, tenant="b")
        return [first, second, other]

    assert states(run_virtual(main())) == ["succeeded", "skipped", "succeeded"]


def test_what_was_spent_before_counts() -> None:
    class Before:
        async def spent_by_job(self, job: int) -> Amount:
            return Amount(0, job)

        async def spent_by_tenant(self, tenant: str) -> Amount:
            raise AssertionError

    async def main() -> list[Outcome]:
        bench = a_paying_bench(uses_half, Budget(tokens=100), ledger=Before())
        return [await bench.call(tokens=60, job=job) for job in (40, 41)]

    assert states(run_virtual(main())) == ["succeeded", "skipped"]


def test_a_call_that_timed_out_costs_what_was_set_aside() -> None:
    async def main() -> tuple[Outcome, Outcome]:
        bench = a_paying_bench(
            lambda _c, _e: answers_after(60),
            Budget(Decimal("1.5")),
            retry=Retry(max_attempts=1),
            timeout_s=5,
        )
        late = await bench.call(tokens=MILLION, job=1)
        return late, await bench.call(tokens=MILLION, job=1)

    late, after = run_virtual(main())
    assert late.cost_usd == Decimal(1)
    assert after.state is ItemState.SKIPPED


def test_a_refused_call_costs_nothing() -> None:
    async def refuse(_call: Call, _endpoint: Endpoint) -> Reply:
        raise BadCall("no")

    async def main() -> list[Outcome]:
        bench = a_paying_bench(refuse, Budget(tokens=100))
        return [await bench.call(tokens=100, job=1) for _ in range(3)]

    outcomes = run_virtual(main())
    assert states(outcomes) == ["failed"] * 3
    assert all(outcome.cost_usd == 0 for outcome in outcomes)


def test_a_call_cancelled_while_it_waits_at_the_gate_costs_nothing() -> None:
    async def main() -> list[Outcome]:
        bench = a_paying_bench(
            uses_half, Budget(tokens=200), limits=Limits(in_flight=1)
        )
        first = asyncio.create_task(bench.call(tokens=100, job=1))
        waiting = asyncio.create_task(bench.call(tokens=100, job=1))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.wait([waiting])
        return [await first, await bench.call(tokens=150, job=1)]

    assert states(run_virtual(main())) == ["succeeded", "succeeded"]


def test_a_model_without_a_price_is_refused_under_a_budget_in_dollars() -> None:
    async def main() -> None:
        prices = (Price(Decimal(1), Decimal(1), "known"),)
        bench = a_paying_bench(uses_half, Budget(Decimal(1)), prices=prices)
        await bench.built.handler(a_call(model="other", job=1))

    with pytest.raises(BudgetSpent, match="no price is known for model 'other'"):
        run_virtual(main())


def test_a_stream_is_paid_for_at_its_end() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    reply = Reply(chunks=chunks())

    async def answer(_call: Call, _endpoint: Endpoint) -> Reply:
        return reply

    async def main() -> tuple[int, int]:
        bench = a_paying_bench(answer, Budget(tokens=100))
        call = a_call(tokens=100, job=1)
        streamed = await bench.built.handler(call)
        before = call.trace.cost_nano
        reply.usage = Usage(10, 0)
        assert streamed.chunks is not None
        assert [chunk async for chunk in streamed.chunks] == [b"a", b"b"]
        return before, call.trace.cost_nano

    assert run_virtual(main()) == (-1, 10_000)


@pytest.mark.parametrize("moment_s", [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5])
def test_wherever_calls_are_cancelled_all_that_is_set_aside_returns(
    moment_s: float,
) -> None:
    async def main() -> Outcome:
        bench = a_paying_bench(
            lambda _c, _e: answers_after(1),
            Budget(tokens=10_000),
            limits=Limits(in_flight=1),
        )
        tasks = [asyncio.create_task(bench.call(tokens=4_000, job=1)) for _ in range(5)]
        await asyncio.sleep(moment_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Of those, only calls that were sent have cost anything: at most three.
        sent = len(bench.provider.started)
        return await bench.call(tokens=10_000 - 4_000 * min(sent, 2), job=1)

    assert run_virtual(main()).state is ItemState.SUCCEEDED
