"""Answers kept in the jobs' database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from headrace.errors import StoreError
from headrace.ports import CacheSize, Kept
from headrace.stores import steps_cache
from headrace.stores.statement import Steps
from headrace.stores.steps_cache import Putting

T = TypeVar("T")

MAX_BYTES: Final = 2**30
"""Of packed answers, about a million of the usual size."""

_PRUNE_SHARE: Final = 32
"""Prune after each so-manyth part of the bound was put: what is kept is at most a
thirty-second above it, for each process that puts."""

_MAX_GROUP: Final = 500
_MAX_TOUCHED: Final = 1_000

_Make = Callable[[], Steps[Any]]
_Run = Callable[[Callable[[], Steps[Any]]], Awaitable[Any]]


class Database(Protocol):
    """What runs transactions; see `stores.sql.Backend`."""

    async def write(self, make: Callable[[], Steps[T]]) -> T: ...

    async def read(self, make: Callable[[], Steps[T]]) -> T: ...


class _Group:
    """Runs what is asked for while one transaction runs in the next one, together."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._asked: list[tuple[_Make, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, make: Callable[[], Steps[T]]) -> T:
        """Do it in a transaction with others; raises `StoreError` for all of them."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((make, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._asked:
                group = self._asked[:_MAX_GROUP]
                del self._asked[:_MAX_GROUP]
                await self._run_group(group)
        finally:
            self._task = None

    async def _run_group(self, group: list[tuple[_Make, asyncio.Future[Any]]]) -> None:
        try:
            values = await self._run(lambda: _together([make for make, _ in group]))
        except Exception as error:  # noqa: BLE001  it belongs to those who asked
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), value in zip(group, values, strict=True):
                if not future.done():
                    future.set_result(value)

    async def close(self) -> None:
        """Wait until all that was asked for is done."""
        while (task := self._task) is not None:
            await asyncio.wait([task])


def _together(makes: list[_Make]) -> Steps[list[Any]]:
    values = []
    for make in makes:
        value = yield from make()
        values.append(value)
    return values


class SqlCache:
    """The `Cache` of `ports` on a database that others use, too.

    Args:
        database: runs the transactions; the owner closes it after this.
        max_bytes: what the answers may take, > 0.
    """

    def __init__(self, database: Database, max_bytes: int = MAX_BYTES) -> None:
        self._reads = _Group(database.read)
        self._writes = _Group(database.write)
        self._max_bytes = max_bytes
        self._put_bytes = 0
        self._used: dict[bytes, int] = {}
        self._is_closed = False

    async def get(self, key: bytes) -> Kept | None:
        self._refuse_closed()
        kept = await self._reads.do(lambda: steps_cache.get(key))
        if kept is not None:
            self._used[key] = self._used.get(key, 0) + 1
            if len(self._used) >= _MAX_TOUCHED:
                await self._note_used()
        return kept

    async def put(
        self, key: bytes, value: bytes, fresh_s: float | None, kept_s: float | None
    ) -> None:
        self._refuse_closed()
        new = Putting(key, value, fresh_s, kept_s)
        if new.size > self._max_bytes:
            await self._writes.do(lambda: steps_cache.free(key))
            return
        await self._writes.do(lambda: steps_cache.put(new))
        self._put_bytes += new.size
        if self._put_bytes * _PRUNE_SHARE > self._max_bytes:
            self._put_bytes = 0
            await self._note_used()
            await self._writes.do(lambda: steps_cache.prune(self._max_bytes))

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        self._refuse_closed()
        step = steps_cache.claim
        return await self._writes.do(lambda: step(key, holder, lease_s))

    async def release(self, key: bytes, holder: str) -> None:
        self._refuse_closed()
        await self._writes.do(lambda: steps_cache.release(key, holder))

    async def size(self) -> CacheSize:
        self._refuse_closed()
        await self._note_used()
        return await self._reads.do(steps_cache.size)

    async def clear(self) -> None:
        self._refuse_closed()
        self._used.clear()
        await self._writes.do(steps_cache.clear)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._note_used()
            await self._writes.do(lambda: steps_cache.prune(self._max_bytes))
        finally:
            await self._reads.close()
            await self._writes.close()

    async def _note_used(self) -> None:
        used, self._used = self._used, {}
        if used:
            await self._writes.do(lambda: steps_cache.touch(used))

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise StoreError("the cache is closed")
