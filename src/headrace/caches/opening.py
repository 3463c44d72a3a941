"""Opens the cache that an address names."""

from __future__ import annotations

from headrace.caches.memory import MemoryCache
from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.ports import Cache

MEMORY = "memory"
REDIS = ("redis://", "rediss://", "unix://")


async def open_cache(address: str, clock: Clock) -> Cache:
    """Open a cache; the caller closes it.

    Args:
        address: `memory`, or `redis://…`, `rediss://…`, `unix://…`.
        clock: time of a cache in memory.

    Raises:
        ConfigError: any other address, or the package for Redis is not installed.
    """
    if address == MEMORY:
        return MemoryCache(clock)
    if address.startswith(REDIS):
        from headrace.caches.redis import open_redis  # an extra, and slow to import

        return await open_redis(address)
    raise ConfigError(
        f"cache store: given {address!r}, allowed memory, or an address that begins "
        f"with {', '.join(REDIS)}"
    )
