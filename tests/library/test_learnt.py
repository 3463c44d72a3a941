"""What routes learn is kept beside the jobs, in a real file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.errors import ErrorCode, QueueFull, Throttled
from headrace.model import Limits, Retry
from headrace.routes import FunctionRoute


class Capped:
    """A function that takes so many calls at once."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.in_flight = 0
        self.refused = 0

    async def __call__(self, item: Any) -> Any:
        if self.in_flight >= self.cap:
            self.refused += 1
            raise Throttled("too many", code=ErrorCode.TOO_MANY_CONCURRENT)
        self.in_flight += 1
        try:
            await asyncio.sleep(0.02)
        finally:
            self.in_flight -= 1
        return item


def route_of(function: Any) -> FunctionRoute:
    return FunctionRoute(
        "capped",
        function,
        limits=Limits(in_flight="auto"),
        retry=Retry(max_attempts=99),
    )


async def run(path: Path, function: Any, items: int) -> int:
    """Run a job; return the calls in flight that were allowed at its first outcome."""
    limits: list[int] = []
    async with headrace.open(path, [route_of(function)]) as home:
        job = await home.submit(list(range(items)), "capped")
        async for outcome in job.outcomes():
            assert outcome.ok
            limits.append(home.endpoints("capped").views()[0].in_flight_limit)
    assert len(limits) == items
    return limits[0]


@pytest.mark.slow
def test_a_second_run_begins_where_the_first_one_ended(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        function = Capped(24)
        return (
            await run(tmp_path / "a.db", function, 600),
            await run(tmp_path / "a.db", function, 50),
        )

    first, second = asyncio.run(main())
    assert first <= 8
    assert 10 <= second <= 25


def test_more_items_than_may_wait_are_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def main() -> None:
        async with headrace.open(path, max_queued=100) as home:
            await home.submit(list(range(60)), "later")
            with pytest.raises(
                QueueFull, match="'later': 101 items would wait"
            ) as full:
                await home.submit(list(range(41)), "later")
            assert full.value.retry_after_s > 0
            await home.submit(list(range(41)), "another")

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM items").fetchone() == (101,)
