"""The cache, as functions and routes of the library use it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace import Limits, Progress
from headrace.app import FunctionRoute
from headrace.errors import ConfigError
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.terms import CacheRules

CALLS: list[Any] = []


async def square(n: int) -> int:
    CALLS.append(n)
    await asyncio.sleep(0.001)
    return n * n


@pytest.fixture(autouse=True)
def fresh() -> None:
    CALLS.clear()


def test_equal_items_are_called_once() -> None:
    async def main() -> list[int]:
        items = [n % 3 for n in range(300)]
        outcomes = await headrace.run(
            square, items, cache=CacheRules(), clock=VirtualClock()
        )
        return [outcome.value for outcome in outcomes]

    assert run_virtual(main()) == [(n % 3) ** 2 for n in range(300)]
    assert sorted(CALLS) == [0, 1, 2]


def test_a_time_of_nothing_keeps_nothing() -> None:
    rules = CacheRules(ttl_s=0)
    options = {"cache": rules, "clock": VirtualClock(), "limits": Limits(in_flight=1)}
    run_virtual(headrace.run(square, [1, 1, 1], **options))
    assert CALLS == [1, 1, 1]


def test_progress_tells_what_the_cache_saved() -> None:
    last: list[Progress] = []
    options: dict[str, Any] = {"cache": CacheRules(), "clock": VirtualClock()}
    run_virtual(headrace.run(square, [1] * 10, progress=last.append, **options))
    told = last[-1].cache
    assert told is not None
    assert (told.misses, told.saved_calls, told.hit_rate) == (1, 9, 0.9)


def test_answers_in_a_file_serve_the_next_run(tmp_path: Path) -> None:
    where = str(tmp_path / "cache.db")

    async def main() -> list[bool]:
        options = {"cache": CacheRules(), "cache_store": where}
        await headrace.run(square, [1, 2], **options)
        again = await headrace.run(square, [2, 1, 3], **options)
        return [outcome.trace.cached for outcome in again]

    assert asyncio.run(main()) == [True, True, False]
    assert sorted(CALLS) == [1, 2, 3]


def test_a_function_without_a_name_keeps_nothing_for_others(tmp_path: Path) -> None:
    where = str(tmp_path / "cache.db")
    with pytest.raises(ConfigError, match="a name of its own"):
        asyncio.run(
            headrace.run(lambda n: n, [1], cache=CacheRules(), cache_store=where)
        )


def test_jobs_share_what_a_route_keeps(tmp_path: Path) -> None:
    async def main() -> None:
        route = FunctionRoute("square", square, cache=CacheRules())
        async with headrace.open(tmp_path / "a.db", [route]) as hr:
            for _ in range(2):
                job = await hr.submit([1, 2, 3, 1], "square")
                assert (await job.wait()).counts.succeeded == 4
            told = hr.cache_statistics()
            assert told is not None
            assert told.saved_calls == 5
            outcomes = [outcome async for outcome in job.outcomes()]
            assert all(outcome.trace.cached for outcome in outcomes)
            assert sorted(outcome.value for outcome in outcomes) == [
                b"1", b"1", b"4", b"9",
            ]  # fmt: skip

    asyncio.run(main())
    assert sorted(CALLS) == [1, 2, 3]


def test_two_tenants_share_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        route = FunctionRoute("square", square, cache=CacheRules())
        async with headrace.open(tmp_path / "a.db", [route]) as hr:
            for tenant in ("a", "b"):
                job = await hr.submit([7], "square", tenant=tenant)
                await job.wait()

    asyncio.run(main())
    assert CALLS == [7, 7]
