"""Jobs that are filled while others ask for them, or whose filler dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import headrace
from headrace.clock import SystemClock
from headrace.durable import Headrace
from headrace.errors import BeingSubmitted
from headrace.jobhandle import JobHandle
from headrace.jobs import JobState, NewJob
from headrace.submitting import KIND

MANY = 5_000
"""More than go in by one transaction."""


async def slowly(go_on: asyncio.Event) -> AsyncIterator[int]:
    """Give many items, and rest in their middle."""
    for n in range(MANY):
        if n == MANY // 2:
            await go_on.wait()
        yield n


async def submit_slowly(home: Headrace, go_on: asyncio.Event) -> JobHandle:
    return await home.submit(slowly(go_on), "r", idempotency_key="k")


async def until_begun(home: Headrace) -> None:
    clock = SystemClock()
    while not await home.store.queued():
        await clock.sleep(0)


@pytest.mark.parametrize("count", [3, MANY])
def test_who_submits_under_a_key_that_is_being_submitted_is_told_to_wait(
    count: int,
) -> None:
    async def main() -> tuple[bool, int]:
        async with headrace.open(":memory:") as home:
            go_on = asyncio.Event()
            first = asyncio.create_task(submit_slowly(home, go_on))
            await until_begun(home)
            with pytest.raises(BeingSubmitted, match="try again"):
                await home.submit(range(count), "r", idempotency_key="k")
            go_on.set()
            made = await first
            again = await home.submit(range(count), "r", idempotency_key="k")
            assert not await home.store.documents().documents(KIND)
            return made.id == again.id, made.job.counts.total

    assert asyncio.run(main()) == (True, MANY)


@pytest.mark.parametrize("holder", ["dead/1/1", None])
def test_a_job_that_nobody_fills_any_more_is_made_anew(holder: str | None) -> None:
    async def main() -> tuple[bool, int, list[JobState]]:
        async with headrace.open(":memory:") as home:
            left, _ = await home.store.create(NewJob("r", idempotency_key="k"))
            if holder is not None:
                body = holder.encode()
                await home.store.documents().insert(KIND, left.id, body, expires_at=1.0)
            made = await home.submit(range(3), "r", idempotency_key="k")
            states = [job.state for job in await home.store.jobs()]
            return made.id == left.id, made.job.counts.total, states

    assert asyncio.run(main()) == (False, 3, [JobState.QUEUED])


def test_a_submission_that_breaks_off_leaves_nothing() -> None:
    async def main() -> tuple[int, int]:
        async with headrace.open(":memory:") as home:
            task = asyncio.create_task(submit_slowly(home, asyncio.Event()))
            await until_begun(home)
            task.cancel()
            await asyncio.wait([task])
            documents = await home.store.documents().documents(KIND)
            return len(await home.store.jobs()), len(documents)

    assert asyncio.run(main()) == (0, 0)
