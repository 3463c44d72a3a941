"""Budgets of runs in memory and of jobs on a store."""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from pathlib import Path

import pytest

import headrace
from headrace import ConfigError, Endpoint, HttpRoute, Limits, Outcome
from headrace.errors import ErrorCode
from headrace.jobs import JobState
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.terms import Budget, Price


async def _echo(item: int) -> int:
    await asyncio.sleep(1)
    return item


def _tokens(_item: int) -> int:
    return 10


def test_a_run_in_memory_ends_what_its_budget_does_not_pay_for_as_skipped() -> None:
    async def main() -> list[Outcome]:
        return await headrace.run(
            _echo,
            range(10),
            tokens=_tokens,
            budget=Budget(Decimal("0.00005")),
            prices=[Price(Decimal(1), Decimal(1))],
            clock=VirtualClock(),
        )

    outcomes = run_virtual(main())
    assert [str(o.state) for o in outcomes] == ["succeeded"] * 5 + ["skipped"] * 5
    assert sum(o.cost_usd or 0 for o in outcomes) == Decimal("0.00005")
    failure = outcomes[-1].failure
    assert failure is not None
    assert failure.code is ErrorCode.BUDGET_SPENT


def test_an_endless_iterable_is_read_no_further_once_the_budget_is_spent() -> None:
    async def main() -> list[Outcome]:
        return await headrace.run(
            _echo,
            itertools.count(),
            tokens=_tokens,
            budget=Budget(tokens=100),
            limits=Limits(in_flight=2),
            clock=VirtualClock(),
        )

    outcomes = run_virtual(main())
    assert sum(o.ok for o in outcomes) == 10
    assert len(outcomes) < 40


def test_a_budget_that_nobody_would_count_is_refused() -> None:
    async def main(**options: object) -> None:
        await headrace.run(_echo, [1], **options)

    with pytest.raises(ConfigError, match="without tokens"):
        asyncio.run(main(budget=Budget(tokens=5)))
    with pytest.raises(ConfigError, match="without prices"):
        asyncio.run(main(budget=Budget(Decimal(5)), tokens=_tokens))


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"budget": Budget(Decimal(1))}, "no price"),
        ({"budget": Budget(tokens=1), "dialect": "http"}, "no tokens"),
    ],
)
def test_a_route_whose_budget_nobody_would_count_is_refused(
    tmp_path: Path, more: dict[str, object], match: str
) -> None:
    route = HttpRoute("r", (Endpoint("e", "http://127.0.0.1:1"),), **more)  # type: ignore[arg-type]

    async def main() -> None:
        async with headrace.open(tmp_path / "h.db", [route]):
            pass

    with pytest.raises(ConfigError, match=match):
        asyncio.run(main())


def test_unpriced_items_pause_their_job_and_none_is_tried(tmp_path: Path) -> None:
    route = HttpRoute(
        "chat",
        (Endpoint("e", "http://127.0.0.1:1"),),
        prices=(Price(Decimal(1), Decimal(1), "known"),),
        budget=Budget(Decimal(1)),
    )
    item = {"url": "/v1/chat/completions", "body": {"model": "x", "messages": []}}

    async def main() -> tuple[str, int, int]:
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await home.submit([item] * 300, "chat")
            async for state in job.progress():
                if state.state is JobState.PAUSED:
                    break
            while (job_now := await job.refresh()).counts.running:
                await home.wait_change()
            return job_now.pause_reason, job_now.counts.queued, job_now.counts.ended

    reason, queued, ended = asyncio.run(main())
    assert "no price is known for model 'x'" in reason
    assert (queued, ended) == (300, 0)
