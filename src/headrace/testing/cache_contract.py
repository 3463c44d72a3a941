"""What every cache must do: examples, each a sentence that holds or not.

A cache passes if each of `CHECKS` returns on a fresh `CacheWorld`:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_cache(check): asyncio.run(run(check))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from headrace.ports import Cache, CacheSize, Kept


class CacheWorld(Protocol):
    """An empty cache of 100,000 bytes, and the means to let its time pass."""

    @property
    def cache(self) -> Cache:
        """The cache under test."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let time pass for the cache."""
        ...


Check: TypeAlias = Callable[[CacheWorld], Awaitable[None]]

MAX_BYTES: Final = 100_000
"""The bound that a cache under test is made with."""


def _key(n: int) -> bytes:
    return n.to_bytes(32, "big")


async def what_was_put_comes_back_as_it_was(world: CacheWorld) -> None:
    value = bytes(range(256)) * 3
    await world.cache.put(_key(1), value, None, None)
    assert await world.cache.get(_key(1)) == Kept(value, is_fresh=True)


async def an_empty_value_is_a_value(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"", None, None)
    assert await world.cache.get(_key(1)) == Kept(b"", is_fresh=True)


async def an_unknown_key_has_nothing(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", None, None)
    assert await world.cache.get(_key(2)) is None


async def the_last_put_counts(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", None, None)
    await world.cache.put(_key(1), b"b", None, None)
    assert await world.cache.get(_key(1)) == Kept(b"b", is_fresh=True)
    assert (await world.cache.size()).entries == 1


async def a_value_is_fresh_then_stale_then_gone(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", 10.0, 20.0)
    assert await world.cache.get(_key(1)) == Kept(b"a", is_fresh=True)
    await world.advance(11.0)
    assert await world.cache.get(_key(1)) == Kept(b"a", is_fresh=False)
    await world.advance(10.0)
    assert await world.cache.get(_key(1)) is None


async def a_value_without_an_end_stays(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", None, None)
    await world.advance(10_000.0)
    assert await world.cache.get(_key(1)) == Kept(b"a", is_fresh=True)


async def one_holder_at_a_time_has_a_lease(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    assert not await world.cache.claim(_key(1), "b", 10.0)
    assert await world.cache.claim(_key(2), "b", 10.0)


async def one_of_many_at_once_gets_the_lease(world: CacheWorld) -> None:
    claims = (world.cache.claim(_key(1), f"h{n}", 10.0) for n in range(50))
    assert sum(await asyncio.gather(*claims)) == 1


async def a_holder_renews_its_lease(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.advance(6.0)
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.advance(6.0)
    assert not await world.cache.claim(_key(1), "b", 10.0)


async def a_lease_that_is_not_renewed_goes_to_the_next(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.advance(11.0)
    assert await world.cache.claim(_key(1), "b", 10.0)
    assert not await world.cache.claim(_key(1), "a", 10.0)


async def a_released_lease_is_free_at_once(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.cache.release(_key(1), "b")
    assert not await world.cache.claim(_key(1), "b", 10.0)
    await world.cache.release(_key(1), "a")
    await world.cache.release(_key(1), "a")
    assert await world.cache.claim(_key(1), "b", 10.0)


async def nobody_gets_the_lease_of_a_value_that_is_there(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.cache.put(_key(1), b"a", 10.0, 20.0)
    assert not await world.cache.claim(_key(1), "b", 10.0)
    assert not await world.cache.claim(_key(1), "a", 10.0)


async def the_lease_of_a_stale_value_can_be_had(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", 10.0, 20.0)
    await world.advance(11.0)
    assert await world.cache.claim(_key(1), "a", 10.0)


async def a_put_by_one_who_lost_the_lease_harms_nothing(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.advance(11.0)
    assert await world.cache.claim(_key(1), "b", 10.0)
    await world.cache.put(_key(1), b"a", None, None)
    await world.cache.put(_key(1), b"b", None, None)
    assert await world.cache.get(_key(1)) == Kept(b"b", is_fresh=True)


async def it_counts_what_it_keeps(world: CacheWorld) -> None:
    for n in range(3):
        await world.cache.put(_key(n), b"x" * 1_000, None, None)
    await world.cache.get(_key(1))
    await world.cache.get(_key(1))
    size = await world.cache.size()
    assert (size.entries, size.hits) == (3, 2)
    assert 3_000 <= size.bytes <= 6_000


async def a_cleared_cache_is_empty_and_works(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", None, None)
    await world.cache.clear()
    assert await world.cache.size() == CacheSize(0, 0, 0)
    await world.cache.put(_key(1), b"b", None, None)
    assert await world.cache.get(_key(1)) == Kept(b"b", is_fresh=True)


async def closing_twice_is_closing_once(world: CacheWorld) -> None:
    await world.cache.put(_key(1), b"a", None, None)
    await world.cache.close()
    await world.cache.close()


CHECKS: Final[tuple[Check, ...]] = (
    what_was_put_comes_back_as_it_was,
    an_empty_value_is_a_value,
    an_unknown_key_has_nothing,
    the_last_put_counts,
    a_value_is_fresh_then_stale_then_gone,
    a_value_without_an_end_stays,
    one_holder_at_a_time_has_a_lease,
    one_of_many_at_once_gets_the_lease,
    a_holder_renews_its_lease,
    a_lease_that_is_not_renewed_goes_to_the_next,
    a_released_lease_is_free_at_once,
    nobody_gets_the_lease_of_a_value_that_is_there,
    the_lease_of_a_stale_value_can_be_had,
    a_put_by_one_who_lost_the_lease_harms_nothing,
    it_counts_what_it_keeps,
    a_cleared_cache_is_empty_and_works,
    closing_twice_is_closing_once,
)


async def the_least_recently_used_goes_first(world: CacheWorld) -> None:
    """The bound holds once the cache has tidied up, and what was used last stays."""
    await world.cache.put(_key(0), b"x" * 1_000, None, None)
    for n in range(1, 200):
        await world.advance(0.01)
        await world.cache.get(_key(0))
        await world.cache.put(_key(n), b"x" * 1_000, None, None)
    size = await world.cache.size()
    assert size.bytes <= MAX_BYTES * 1.1
    assert await world.cache.get(_key(0)) is not None
    assert await world.cache.get(_key(199)) is not None
    assert await world.cache.get(_key(1)) is None


async def a_value_beyond_the_bound_is_not_kept(world: CacheWorld) -> None:
    assert await world.cache.claim(_key(1), "a", 10.0)
    await world.cache.put(_key(1), b"x" * (MAX_BYTES + 1), None, None)
    assert await world.cache.get(_key(1)) is None
    assert await world.cache.claim(_key(1), "b", 10.0)


BOUNDED: Final[tuple[Check, ...]] = (
    the_least_recently_used_goes_first,
    a_value_beyond_the_bound_is_not_kept,
)
"""For caches that keep their own bound; Redis is told its `maxmemory` by its owner."""
