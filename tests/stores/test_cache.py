"""Answers kept beside the jobs."""

from __future__ import annotations

import asyncio

import pytest

from headrace.ports import Cache
from headrace.stores.sqlcache import SqlCache
from headrace.testing.cache_contract import BOUNDED, CHECKS, MAX_BYTES, Check


class TriedCache:
    """A cache in a tried store."""

    def __init__(self, world) -> None:
        self._world = world
        self.cache: Cache = SqlCache(world.store._backend, MAX_BYTES)

    async def advance(self, seconds: float) -> None:
        self._world.advance(seconds)


@pytest.mark.parametrize("check", CHECKS + BOUNDED, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "opens",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    indirect=True,
)
def test_the_cache_keeps_its_contract(check: Check, opens) -> None:
    async def main() -> None:
        async with opens() as world:
            tried = TriedCache(world)
            try:
                await check(tried)
            finally:
                await tried.cache.close()

    asyncio.run(main())


def test_answers_outlive_the_cache_that_kept_them(opens) -> None:
    async def main() -> None:
        async with opens() as world:
            cache = world.store.cache()
            if cache is not None:
                await cache.put(b"k" * 32, b"v", None, None)
                await cache.close()
                again = world.store.cache()
                assert (await again.get(b"k" * 32)).value == b"v"
                await again.close()

    asyncio.run(main())


def test_a_group_is_one_transaction(tmp_path) -> None:
    class Counting:
        def __init__(self) -> None:
            self.writes = 0

        async def write(self, make):
            self.writes += 1
            await asyncio.sleep(0)
            steps = make()
            try:
                query = next(steps)
                while query:
                    query = steps.send(())
            except StopIteration as stop:
                return stop.value

        read = write

    async def main() -> int:
        database = Counting()
        cache = SqlCache(database)
        keys = [n.to_bytes(32, "big") for n in range(100)]
        await asyncio.gather(*(cache.put(key, b"", None, None) for key in keys))
        return database.writes

    assert asyncio.run(main()) <= 2


def test_who_stops_waiting_leaves_the_others_of_the_group_alone(tmp_path) -> None:
    async def main() -> None:
        from headrace.stores.opening import open_store
        from headrace.testing.clocks import MovableClock

        store = await open_store(tmp_path / "a.db", MovableClock())
        cache = store.cache()
        puts = [
            asyncio.ensure_future(cache.put(n.to_bytes(32, "big"), b"v", None, None))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        puts[3].cancel()
        await asyncio.gather(*puts, return_exceptions=True)
        assert (await cache.size()).entries >= 19
        await cache.close()
        await store.close()

    asyncio.run(main())
