"""The backend of a SQLite file: one thread writes, one reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from headrace.errors import StoreError
from headrace.jobs import JobState
from headrace.ports import Pulse
from headrace.stores import steps_beat
from headrace.stores.sqlite_connection import Connection, SqliteFile
from headrace.stores.sqlite_lives import Lives
from headrace.stores.sqlite_opening import prepare
from headrace.stores.statement import Steps

T = TypeVar("T")


class _Thread:
    """A thread of our own that serves one caller at a time.

    It is a daemon: a process that is told to exit does not wait for a slow disk; what
    was not committed is rolled back when the file is next opened.
    """

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._is_closed = False
        self._is_over = False
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while not self._is_over:
            future, work = self._tasks.get()
            if not future.set_running_or_notify_cancel():
                continue  # cancelled while it waited: not at all
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001  it belongs to the caller
                future.set_exception(error)
            else:
                future.set_result(value)

    async def run(self, work: Callable[[], T]) -> T:
        """Have the thread do it; a cancelled caller leaves it whole or undone."""
        if self._is_closed:
            raise StoreError("the store is closed")
        return await asyncio.wrap_future(self._put(work))

    def _put(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._tasks.put((future, work))
        return future

    async def close(self, last: Callable[[], None]) -> None:
        """End the thread after what it was given, and `last`; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True

        def end() -> None:
            self._is_over = True
            last()

        await asyncio.shield(asyncio.wrap_future(self._put(end)))


async def open_sqlite(file: SqliteFile) -> SqliteBackend:
    """Open the file, and make or migrate its tables.

    Raises:
        StoreError: it cannot be opened, or holds something else.
    """
    writing, reading = _Thread("headrace-write"), _Thread("headrace-read")
    try:
        writer = await writing.run(lambda: prepare(file))
        reader = await reading.run(lambda: Connection(file))
    except BaseException:
        await reading.close(_nothing)
        await writing.close(_nothing)
        raise
    return SqliteBackend(file, (writing, writer), (reading, reader))


def _nothing() -> None:
    return


class SqliteBackend:
    """Transactions on one SQLite file, which one thread writes and another reads."""

    def __init__(
        self,
        file: SqliteFile,
        writing: tuple[_Thread, Connection],
        reading: tuple[_Thread, Connection],
    ) -> None:
        self._file = file
        self._writing, self._writer = writing
        self._reading, self._reader = reading
        self._lives = Lives(file.path)

    async def write(self, make: Callable[[], Steps[T]]) -> T:
        return await self._writing.run(lambda: self._writer.write(make))

    async def read(self, make: Callable[[], Steps[T]]) -> T:
        return await self._reading.run(lambda: self._reader.read(make))

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        return SqlitePulse(self._file, epoch, lease_s)

    async def hold(self, epoch: int) -> None:
        await self._writing.run(lambda: self._lives.hold(epoch))

    async def free(self, epoch: int) -> None:
        await self._writing.run(lambda: self._lives.free(epoch))

    async def let_go(self, epoch: int) -> None:
        await self._writing.run(lambda: self._lives.let_go(epoch))

    async def dead(self, epochs: Sequence[int]) -> list[int]:
        return await self._writing.run(lambda: self._lives.dead(epochs))

    async def close(self) -> None:
        await self._reading.close(self._reader.close)
        await self._writing.close(self._end)

    def _end(self) -> None:
        self._writer.close()
        self._lives.close()


class SqlitePulse:
    """An owner's heartbeat on a connection of its own."""

    def __init__(self, file: SqliteFile, epoch: int, lease_s: float) -> None:
        self._file = file
        self._epoch = epoch
        self._lease_s = lease_s
        self._open: Connection | None = None

    def renew(self) -> bool:
        steps = steps_beat.renew
        return self._connection().write(lambda: steps(self._epoch, self._lease_s))

    def states(self) -> Mapping[int, JobState]:
        return self._connection().read(lambda: steps_beat.states(self._epoch))

    def _connection(self) -> Connection:
        if self._open is None:
            self._open = Connection(self._file)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
