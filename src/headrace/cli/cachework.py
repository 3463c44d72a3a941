"""What the `headrace cache` commands do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from headrace.caches.opening import MEMORY, open_cache
from headrace.cli import words
from headrace.cli.cacheviews import held_line
from headrace.cli.exits import Exit
from headrace.cli.jobfinding import found_store
from headrace.cli.jobwork import print_json, print_lines
from headrace.clock import SystemClock
from headrace.errors import ConfigError
from headrace.ports import Cache


class Place(msgspec.Struct, frozen=True):
    """Where answers are kept, as the flags say."""

    store: str | None
    cache_store: str | None


async def show_cache(place: Place, json: bool) -> Exit:
    """Print how much is kept, and how often it was given again."""
    async with _opened(place) as cache:
        size = await cache.size()
    if json:
        print_json(msgspec.to_builtins(size))
    else:
        given = words.plural(size.hits, "time")
        print_lines([held_line(size.entries, size.bytes), f"given again {given}"])
    return Exit.SUCCEEDED


async def clear_cache(
    place: Place,
    json: bool,
    *,
    sure: bool,
) -> Exit:
    """Forget everything that is kept."""
    async with _opened(place) as cache:
        size = await cache.size()
        held = held_line(size.entries, size.bytes)
        if size.entries and not (sure or _confirmed(held)):
            raise ConfigError(f"{held}: add --yes to forget them")
        await cache.clear()
    if json:
        print_json({"removed": size.entries})
    else:
        print_lines([f"forgot: {held}"])
    return Exit.SUCCEEDED


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Cache]:
    if place.cache_store == MEMORY:
        raise ConfigError("--cache-store: given memory, which ends with each run")
    if place.cache_store is not None:
        async with _closing(await open_cache(place.cache_store, SystemClock())) as far:
            yield far
        return
    async with found_store(place.store) as store:
        near = store.cache()
        if near is None:
            raise ConfigError("--store: a store in memory keeps no answers")
        async with _closing(near) as cache:
            yield cache


@asynccontextmanager
async def _closing(cache: Cache) -> AsyncIterator[Cache]:
    try:
        yield cache
    finally:
        await cache.close()


def _confirmed(held: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{held}: forget them? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
