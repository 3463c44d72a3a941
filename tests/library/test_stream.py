from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

import headrace
from headrace import ItemState, Limits, Outcome, Progress, Retry
from headrace.simulation.virtual import VirtualClock, run_virtual


def _options(**more: Any) -> dict[str, Any]:
    return {"clock": VirtualClock(), **more}


async def _slow(item: int) -> int:
    await asyncio.sleep(10 - item)
    return item * item


def test_outcomes_come_as_they_complete() -> None:
    async def main() -> list[int]:
        return [o.index async for o in headrace.stream(_slow, range(5), **_options())]

    assert run_virtual(main()) == [4, 3, 2, 1, 0]


def test_outcomes_come_in_order_when_asked_for() -> None:
    async def main() -> list[int]:
        stream = headrace.stream(_slow, range(5), ordered=True, **_options())
        return [o.value async for o in stream]

    assert run_virtual(main()) == [0, 1, 4, 9, 16]


def test_run_gives_all_outcomes_in_order() -> None:
    outcomes = run_virtual(headrace.run(_slow, range(5), **_options()))
    assert [o.value for o in outcomes] == [0, 1, 4, 9, 16]


def test_an_async_iterable_is_read() -> None:
    async def items() -> AsyncIterator[int]:
        for i in range(5):
            await asyncio.sleep(1)
            yield i

    outcomes = run_virtual(headrace.run(_slow, items(), **_options()))
    assert [o.value for o in outcomes] == [0, 1, 4, 9, 16]


def test_no_items_give_no_outcomes() -> None:
    assert run_virtual(headrace.run(_slow, [], **_options())) == []


def test_one_failure_is_an_outcome_and_harms_no_other() -> None:
    async def fails(item: int) -> int:
        if item == 2:
            raise RuntimeError("two is bad")
        return item

    outcomes = run_virtual(
        headrace.run(fails, range(4), **_options(retry=Retry(max_attempts=2)))
    )
    assert [o.ok for o in outcomes] == [True, True, False, True]
    assert outcomes[2].failure is not None
    assert "two is bad" in outcomes[2].failure.message
    assert outcomes[2].attempts == 2


def test_an_endless_iterable_is_read_no_further_than_calls_can_be_made() -> None:
    taken = [0]

    def endless() -> Iterator[int]:
        while True:
            taken[0] += 1
            yield 1

    async def main() -> None:
        stream = headrace.stream(
            _slow, endless(), **_options(limits=Limits(in_flight=10))
        )
        async with aclosing(stream) as outcomes:
            async for outcome in outcomes:
                if outcome.index > 20:
                    return

    run_virtual(main())
    assert taken[0] < 200


def test_a_slow_reader_holds_the_run_back() -> None:
    started = [0]

    async def fast(item: int) -> int:
        started[0] += 1
        return item

    async def main() -> int:
        stream = headrace.stream(
            fast, range(100_000), **_options(limits=Limits(in_flight=10))
        )
        async with aclosing(stream) as outcomes:
            async for _ in outcomes:
                await asyncio.sleep(1)
                return started[0]
        raise AssertionError("no outcome came")

    assert run_virtual(main()) < 500


def test_leaving_the_loop_cancels_what_runs() -> None:
    cancelled = [0]

    async def hangs(item: int) -> int:
        if item == 0:
            return 0
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled[0] += 1
            raise
        return item

    async def main() -> None:
        stream = headrace.stream(hangs, range(5), **_options())
        async with aclosing(stream) as outcomes:
            async for _ in outcomes:
                return

    run_virtual(main())
    assert cancelled[0] == 4


def test_at_the_deadline_what_is_not_finished_expires() -> None:
    async def main() -> list[Outcome]:
        return await headrace.run(
            _slow, range(50), **_options(limits=Limits(in_flight=2), deadline_s=12.0)
        )

    outcomes = run_virtual(main())
    states = [o.state for o in outcomes]
    assert states[:2] == [ItemState.SUCCEEDED] * 2
    assert set(states[2:]) == {ItemState.EXPIRED}
    assert len(outcomes) == 50


def test_progress_is_told_and_ends_with_the_last_word() -> None:
    told: list[Progress] = []
    run_virtual(headrace.run(_slow, range(5), **_options(progress=told.append)))
    assert told[-1].counts.succeeded == 5
    assert told[-1].counts.total == 5


def test_an_async_progress_callback_is_awaited() -> None:
    told: list[Progress] = []

    async def tell(progress: Progress) -> None:
        await asyncio.sleep(0.01)
        told.append(progress)

    run_virtual(headrace.run(_slow, range(5), **_options(progress=tell)))
    assert told[-1].counts.succeeded == 5


def test_an_error_of_the_progress_callback_never_harms_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def tell(_progress: Progress) -> None:
        raise ZeroDivisionError

    outcomes = run_virtual(headrace.run(_slow, range(5), **_options(progress=tell)))
    assert all(o.ok for o in outcomes)
    assert "the progress callback failed" in caplog.text


def test_an_error_of_the_iterable_reaches_the_caller() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        run_virtual(headrace.run(_slow, items(), **_options()))


def test_a_rate_is_kept() -> None:
    started: list[float] = []

    async def note(item: int) -> None:
        started.append(asyncio.get_running_loop().time())

    run_virtual(
        headrace.run(note, range(130), **_options(limits=Limits(calls_per_minute=60)))
    )
    assert max(sum(a <= b < a + 60 for b in started) for a in started) <= 60


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="bogus"):
        run_virtual(headrace.run(_slow, [1], bogus=1))


@pytest.mark.slow
def test_ten_thousand_items_cost_no_more_memory_in_flight_than_a_hundred() -> None:
    live = [0]
    peak = [0]

    class Item:
        def __init__(self) -> None:
            live[0] += 1
            peak[0] = max(peak[0], live[0])

        def __del__(self) -> None:
            live[0] -= 1

    async def nothing(item: Item) -> None:
        await asyncio.sleep(1)

    async def main() -> None:
        limits = Limits(in_flight=20)
        items = (Item() for _ in range(10_000))
        async for _ in headrace.stream(nothing, items, **_options(limits=limits)):
            pass

    run_virtual(main())
    assert peak[0] < 200
