from __future__ import annotations

import asyncio
import time

import pytest

from headrace.simulation.virtual import (
    EPOCH_AT,
    START_S,
    Deadlock,
    VirtualClock,
    run_virtual,
)


def test_an_hour_of_sleep_is_exact_and_free() -> None:
    async def main() -> float:
        await asyncio.sleep(3600.1)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == START_S + 3600.1
    assert time.monotonic() - began < 1


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def main() -> list[tuple[float, int]]:
        woken: list[tuple[float, int]] = []

        async def sleeper(n: int) -> None:
            await asyncio.sleep(n / 10)
            woken.append((asyncio.get_running_loop().time(), n))

        async with asyncio.TaskGroup() as group:
            for n in (7, 3, 9, 1):
                group.create_task(sleeper(n))
        return woken

    assert run_virtual(main()) == [(START_S + n / 10, n) for n in (1, 3, 7, 9)]


def test_a_time_limit_fires_at_its_moment() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == START_S + 5


def test_waits_longer_than_a_day_pass_too() -> None:
    async def main() -> float:
        await asyncio.sleep(400 * 86_400.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == START_S + 400 * 86_400.0


def test_a_deadlock_names_the_tasks_that_wait() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_ever(), name="the forgotten one")

    with pytest.raises(Deadlock, match=r"the forgotten one in wait .*locks\.py"):
        run_virtual(main())


def test_a_thread_may_still_wake_the_loop() -> None:
    async def main() -> int:
        return await asyncio.to_thread(lambda: 42)

    assert run_virtual(main()) == 42


def test_tasks_are_cancelled_after_a_deadlock() -> None:
    cleaned = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    with pytest.raises(Deadlock):
        run_virtual(main())
    assert cleaned == [True]


def test_the_virtual_clock_follows_the_loop() -> None:
    async def main() -> tuple[float, float]:
        clock = VirtualClock()
        await clock.sleep(2.5)
        return clock.monotonic(), clock.utc()

    assert run_virtual(main()) == (START_S + 2.5, EPOCH_AT + START_S + 2.5)


def test_equal_seeds_give_equal_chance() -> None:
    one, other = VirtualClock(7), VirtualClock(7)
    assert [one.uniform() for _ in range(5)] == [other.uniform() for _ in range(5)]
    assert VirtualClock(8).uniform() != VirtualClock(7).uniform()
