"""Many time limits on one timer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.crew import ahead_of, window_of
from headrace.engine.deadlines import Deadlines
from headrace.simulation.virtual import run_virtual

NEVER_S = 1e6


async def _limited(deadlines: Deadlines, limit_s: float, work_s: float) -> str:
    limit = deadlines.start(asyncio.get_running_loop().time() + limit_s)
    try:
        await asyncio.sleep(work_s)
    except asyncio.CancelledError:
        if limit.absorbs_cancel():
            return "too late"
        raise
    finally:
        deadlines.stop(limit)
    return "done"


@given(
    works=st.lists(
        st.tuples(st.sampled_from([1.0, 2.5, 2.5, 40.0]), st.floats(0, 50)), max_size=30
    )
)
def test_each_work_ends_at_its_own_limit_whatever_the_others_have(works) -> None:
    async def main() -> list[tuple[str, float]]:
        deadlines, loop = Deadlines(), asyncio.get_running_loop()

        async def one(limit_s: float, work_s: float) -> tuple[str, float]:
            start = loop.time()
            return await _limited(deadlines, limit_s, work_s), loop.time() - start

        return await asyncio.gather(*[one(*work) for work in works])

    for (limit_s, work_s), (word, spent_s) in zip(
        works, run_virtual(main()), strict=True
    ):
        if work_s != limit_s:
            assert word == ("done" if work_s < limit_s else "too late")
        assert spent_s == pytest.approx(min(limit_s, work_s), abs=1e-4)


def test_ended_limits_are_forgotten_while_an_old_one_runs() -> None:
    async def main() -> int:
        deadlines, now = Deadlines(), asyncio.get_running_loop().time()
        first = deadlines.start(now + NEVER_S)
        for i in range(20_000):
            deadlines.stop(deadlines.start(now + NEVER_S + (i % 3) - 1))
        held = len(deadlines._line) + len(deadlines._heap)
        deadlines.stop(first)
        deadlines.close()
        return held

    assert run_virtual(main()) < 2_100


def test_a_limit_stopped_twice_counts_once() -> None:
    async def main() -> int:
        deadlines = Deadlines()
        limit = deadlines.start(NEVER_S)
        deadlines.stop(limit)
        deadlines.stop(limit)
        deadlines.close()
        return deadlines._over

    assert run_virtual(main()) == 1


def test_a_cancel_from_elsewhere_at_the_same_moment_wins() -> None:
    async def main() -> bool:
        deadlines, loop = Deadlines(), asyncio.get_running_loop()
        task = asyncio.create_task(_limited(deadlines, 5.0, 50.0))
        await asyncio.sleep(0)
        loop.call_at(loop.time() + 5.0, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert run_virtual(main())


def test_a_closed_set_of_limits_ends_nothing_more() -> None:
    async def main() -> str:
        deadlines = Deadlines()
        task = asyncio.create_task(_limited(deadlines, 5.0, 50.0))
        await asyncio.sleep(1.0)
        deadlines.close()
        return await task

    assert run_virtual(main()) == "done"


def test_short_calls_are_leased_further_ahead_than_long_ones() -> None:
    assert ahead_of(started=20, spent_s=1.0) == 1
    assert ahead_of(started=200, spent_s=0.02) == 500
    assert ahead_of(started=10_000, spent_s=0.02) == 1_000
    assert window_of(100) == 166
