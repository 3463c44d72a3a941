from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace import (
    FunctionRoute,
    Item,
    ItemState,
    Limits,
    Outcome,
    Retry,
)
from headrace.errors import DuplicateItem, NotFound
from headrace.jobs import JobState

pytestmark = pytest.mark.slow


async def _double(item: int) -> int:
    return 2 * item


def _doubling(**more: Any) -> FunctionRoute:
    return FunctionRoute("double", _double, **more)


def _run(main: Any) -> Any:
    return asyncio.run(main)


def test_a_job_submitted_is_run_and_its_outcomes_can_be_read(tmp_path: Path) -> None:
    async def main() -> list[Outcome]:
        async with headrace.open(tmp_path / "h.db", [_doubling()]) as home:
            job = await home.submit(range(50), "double")
            return [outcome async for outcome in job.outcomes()]

    outcomes = _run(main())
    assert sorted(int(o.value) for o in outcomes) == [2 * i for i in range(50)]
    numbers = [o.number for o in outcomes]
    assert numbers == sorted(set(numbers))


def test_a_job_is_gone_on_with_after_reopening(tmp_path: Path) -> None:
    async def submit() -> str:
        async with headrace.open(tmp_path / "h.db") as home:
            return (await home.submit(range(50), "double")).id

    async def finish(ref: str) -> tuple[JobState, int]:
        async with headrace.open(tmp_path / "h.db", [_doubling()]) as home:
            job = await (await home.job(ref)).wait()
            return job.state, job.counts.succeeded

    assert _run(finish(_run(submit()))) == (JobState.COMPLETED, 50)


def test_what_runs_when_the_block_is_left_is_put_back(tmp_path: Path) -> None:
    async def hang(_item: int) -> None:
        await asyncio.Event().wait()

    async def leave() -> str:
        route = FunctionRoute("double", hang)
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await home.submit(range(5), "double")
            while (await job.refresh()).state is not JobState.IN_PROGRESS:
                await home.wait_change()
            return job.id

    async def finish(ref: str) -> int:
        async with headrace.open(tmp_path / "h.db", [_doubling()]) as home:
            return (await (await home.job(ref)).wait()).counts.succeeded

    assert _run(finish(_run(leave()))) == 5


def test_the_same_idempotency_key_gives_the_first_job(tmp_path: Path) -> None:
    async def main() -> tuple[str, str, int]:
        async with headrace.open(tmp_path / "h.db", [_doubling()]) as home:
            first = await home.submit([1, 2], "double", idempotency_key="k")
            second = await home.submit([3], "double", idempotency_key="k")
            return first.id, second.id, (await second.wait()).counts.total

    first, second, total = _run(main())
    assert first == second
    assert total == 2


def test_a_large_job_goes_in_by_batches_all_or_none(tmp_path: Path) -> None:
    def items(end: object) -> list[object]:
        return [*(Item(n, f"i{n}") for n in range(4_500)), end]

    async def main() -> tuple[int, int]:
        async with headrace.open(tmp_path / "h.db") as home:
            with pytest.raises(DuplicateItem, match="i3"):
                await home.submit(items(Item(1, "i3")), "double")
            kept = len(await home.store.jobs())
            job = await home.submit(items(Item(1, "last")), "double")
            return kept, job.job.counts.queued

    assert _run(main()) == (0, 4_501)


def test_two_items_of_one_name_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async def main() -> int:
        async with headrace.open(tmp_path / "h.db") as home:
            with pytest.raises(DuplicateItem, match="same"):
                await home.submit([Item(1, "same"), Item(2, "same")], "double")
            return len(await home.store.jobs())

    assert _run(main()) == 0


def test_a_cancelled_job_keeps_what_was_done_and_never_starts_the_rest(
    tmp_path: Path,
) -> None:
    async def one_then_hang(item: int) -> int:
        if item:
            await asyncio.Event().wait()
        return item

    async def main() -> tuple[JobState, list[ItemState]]:
        route = FunctionRoute("r", one_then_hang, limits=Limits(in_flight=2))
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await home.submit(range(100), "r")
            async for outcome in job.outcomes():
                assert outcome.ok
                break
            await job.cancel()
            ended = await job.wait()
            return ended.state, [o.state async for o in job.outcomes()]

    state, states = _run(main())
    assert state is JobState.CANCELLED
    assert states.count(ItemState.SUCCEEDED) == 1
    assert states.count(ItemState.CANCELLED) == 99


def test_failed_items_can_be_run_again(tmp_path: Path) -> None:
    broken = [True]

    async def sometimes(item: int) -> int:
        if broken[0] and item % 2:
            raise RuntimeError("not now")
        return item

    async def main() -> tuple[int, int, int]:
        route = FunctionRoute("r", sometimes, retry=Retry(max_attempts=1))
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await home.submit(range(10), "r")
            failed = (await job.wait()).counts.failed
            broken[0] = False
            again = await job.retry()
            return failed, again, (await job.wait()).counts.succeeded

    assert _run(main()) == (5, 5, 10)


def test_the_first_failure_ends_a_job_that_wants_all(tmp_path: Path) -> None:
    async def fails(item: int) -> int:
        raise RuntimeError("no")

    async def main() -> tuple[JobState, int]:
        route = FunctionRoute(
            "r", fails, retry=Retry(max_attempts=1), limits=Limits(in_flight=1)
        )
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await (await home.submit(range(5_000), "r", on_failure="all")).wait()
            return job.state, job.counts.skipped

    state, skipped = _run(main())
    assert state is JobState.FAILED
    assert skipped > 0


def test_at_its_deadline_a_job_expires(tmp_path: Path) -> None:
    async def hang(_item: int) -> None:
        await asyncio.Event().wait()

    async def main() -> tuple[JobState, int]:
        route = FunctionRoute("r", hang, limits=Limits(in_flight=2))
        async with headrace.open(tmp_path / "h.db", [route]) as home:
            job = await home.submit(range(10), "r", deadline_s=0.5)
            ended = await job.wait()
            return ended.state, ended.counts.expired

    assert _run(main()) == (JobState.EXPIRED, 10)


def test_a_pause_holds_a_job_until_it_is_resumed(tmp_path: Path) -> None:
    async def main() -> tuple[JobState, JobState]:
        async with headrace.open(tmp_path / "h.db") as operator:
            job = await operator.submit(range(10), "double")
            await job.pause()
            async with headrace.open(tmp_path / "h.db", [_doubling()]) as worker:
                await worker.wait_change()
                paused = (await job.refresh()).state
                await job.resume()
                return paused, (await job.wait()).state

    assert _run(main()) == (JobState.PAUSED, JobState.COMPLETED)


def test_a_result_that_is_no_json_fails_its_item_alone(tmp_path: Path) -> None:
    async def odd(item: int) -> object:
        return object() if item == 1 else item

    async def main() -> list[Outcome]:
        async with headrace.open(tmp_path / "h.db", [FunctionRoute("r", odd)]) as home:
            job = await home.submit(range(3), "r")
            return [outcome async for outcome in job.outcomes()]

    outcomes = {o.index: o for o in _run(main())}
    assert [outcomes[i].ok for i in range(3)] == [True, False, True]
    assert outcomes[1].failure.code == "bad_reply"


def test_an_unknown_job_is_not_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with headrace.open(tmp_path / "h.db") as home:
            await home.job("job_nobody")

    with pytest.raises(NotFound, match="job_nobody"):
        _run(main())
