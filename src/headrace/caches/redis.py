"""Answers kept in Redis or Valkey, for many machines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from headrace.caches import scripts
from headrace.errors import ConfigError, StoreError
from headrace.ports import CacheSize, Kept

PREFIX: Final = b"headrace:cache:"
"""Of every key of ours: a server may be shared with others."""

CONNECTIONS: Final = 16
"""Of one process; a command holds one for less than a millisecond."""

TIMEOUT_S: Final = 5.0
"""Of one command; a cache that is slower than that is no help."""

_PAGE: Final = 1_000
_HITS: Final = PREFIX + b"hits"


def no_offset() -> float:
    """Take the server's clock as it is."""
    return 0.0


async def open_redis(
    address: str, offset_s: Callable[[], float] = no_offset
) -> RedisCache:
    """Open a cache in a server; it need not be there yet.

    Args:
        address: `redis://…`, `rediss://…` or `unix://…`.
        offset_s: seconds to add to the server's clock; for tests.

    Raises:
        ConfigError: the address is none, or the package redis is not installed.
    """
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Disconnected
    except ImportError as error:
        raise ConfigError(
            "cache store: an address of Redis needs the package redis, which is not "
            "installed; install headrace[redis]"
        ) from error
    try:
        pool = BlockingConnectionPool.from_url(
            address,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # Once more, if a connection that lay idle was closed; a server that hangs
            # is not waited for again.
            retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        )
    except ValueError as error:
        raise ConfigError(f"cache store: the address of Redis is wrong: {error}") from (
            error
        )
    return RedisCache(Redis.from_pool(pool), offset_s)


class RedisCache:
    """The `Cache` of `ports` in Redis; belongs to one event loop.

    How much is kept, the server's owner says by `maxmemory` and its policy; times are
    the server's.

    Args:
        client: closed with this.
        offset_s: seconds to add to the server's clock; for tests.
    """

    def __init__(self, client: Any, offset_s: Callable[[], float]) -> None:
        self._client = client
        self._offset_s = offset_s
        self._get = client.register_script(scripts.GET)
        self._put = client.register_script(scripts.PUT)
        self._claim = client.register_script(scripts.CLAIM)
        self._release = client.register_script(scripts.RELEASE)

    async def get(self, key: bytes) -> Kept | None:
        found = await self._run(self._get, [_value(key), _HITS])
        if found is None:
            return None
        return Kept(found[0][scripts.TIMES_BYTES :], bool(found[1]))

    async def put(
        self, key: bytes, value: bytes, fresh_s: float | None, kept_s: float | None
    ) -> None:
        keys = [_value(key), _lease(key)]
        await self._run(self._put, keys, value, _ms(fresh_s), _ms(kept_s))

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        keys = [_value(key), _lease(key)]
        return bool(await self._run(self._claim, keys, holder, _ms(lease_s)))

    async def release(self, key: bytes, holder: str) -> None:
        await self._run(self._release, [_lease(key)], holder)

    async def size(self) -> CacheSize:
        entries = total = 0
        async for keys in self._pages():
            entries += len(keys)
            total += sum(await self._together("strlen", keys))
        hits = await _asking(self._client.get(_HITS))
        return CacheSize(entries, total, int(hits or 0))

    async def clear(self) -> None:
        async for keys in self._pages():
            await _asking(self._client.unlink(*keys))
        await _asking(self._client.delete(_HITS))

    async def close(self) -> None:
        await _asking(self._client.aclose(close_connection_pool=True))

    async def _run(self, script: Any, keys: list[bytes], *given: object) -> Any:
        offset_ms = round(1000 * self._offset_s())
        return await _asking(script(keys=keys, args=[offset_ms, *given]))

    async def _pages(self) -> AsyncIterator[list[bytes]]:
        cursor = 0
        while True:
            scan = self._client.scan(cursor, match=PREFIX + b"v:*", count=_PAGE)
            cursor, keys = await _asking(scan)
            if keys:
                yield keys
            if not cursor:
                return

    async def _together(self, command: str, keys: list[bytes]) -> list[int]:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            getattr(pipeline, command)(key)
        found: list[int] = await _asking(pipeline.execute())
        return found


async def _asking(answer: Awaitable[Any]) -> Any:
    """Wait for an answer, and translate the client's errors."""
    from redis.exceptions import RedisError

    try:
        return await answer
    except (RedisError, OSError) as error:
        raise StoreError(f"the cache in Redis fails: {error}") from error


def _value(key: bytes) -> bytes:
    return PREFIX + b"v:" + key


def _lease(key: bytes) -> bytes:
    return PREFIX + b"l:" + key


def _ms(seconds: float | None) -> int | str:
    return "" if seconds is None else round(1000 * seconds)
