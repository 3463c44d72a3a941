"""The backend of a PostgreSQL database, on asyncpg."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from headrace.errors import StoreError
from headrace.jobs import JobState
from headrace.ports import Pulse
from headrace.stores import statements_jobs as of_jobs
from headrace.stores import steps_beat
from headrace.stores.packing import Packer
from headrace.stores.postgres_errors import FAILURES, not_ready, translate
from headrace.stores.schema import SCHEMA_VERSION
from headrace.stores.statement import POSTGRESQL, Each, Packing, Query, Step, Steps

T = TypeVar("T")

CONNECTIONS: Final = 8
"""Of one process; a transaction holds one for some milliseconds."""

CONNECT_S: Final = 10.0
STATEMENT_S: Final = 600.0
"""Only a retry of millions of items takes longer than a second."""

AGAIN: Final = 5
"""How often a transaction is tried that a deadlock undid."""

BY_KEY: Final = (
    "SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
)
"""Every statement of ours takes hundreds of rows by their keys. A plan made while a
table was small, and kept, would read all of it; and only plain index scans remember
which entries are dead, of which a queue leaves many. What must read a whole small
table looks costly then, and would be compiled first: 0.4 s for one row."""

UNDONE: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Database(msgspec.Struct, frozen=True):
    """Which database, and by how many seconds its clock is moved."""

    url: str
    offset_s: Callable[[], float]

    async def connect(self) -> Any:
        """Return a new connection."""
        connection = await asyncpg.connect(
            self.url,
            timeout=CONNECT_S,
            command_timeout=STATEMENT_S,
            server_settings={"application_name": "headrace"},
        )
        try:
            await connection.execute(BY_KEY)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def drive(
    connection: Any, make: Callable[[], Steps[T]], packer: Packer, offset_s: float
) -> T:
    """Run the statements of a transaction on a connection."""
    steps = make()
    try:
        step = next(steps)
        while True:
            step = steps.send(await _run(connection, step, packer, offset_s))
    except StopIteration as stop:
        value: T = stop.value
        return value


async def _run(connection: Any, step: Step, packer: Packer, offset_s: float) -> Any:
    match step:
        case Query(statement, given):
            wanted = statement.compiled(POSTGRESQL)
            arguments = wanted.arguments({**given, "offset_s": offset_s})
            return await connection.fetch(wanted.text, *arguments)
        case Each(row_statement, rows) if row_statement.copy_into:
            await connection.copy_records_to_table(
                row_statement.copy_into, records=rows, columns=row_statement.fields
            )
        case Each(row_statement, rows):
            text = row_statement.compiled(POSTGRESQL).text
            await connection.execute(text, *map(list, zip(*rows, strict=True)))
        case Packing():
            return packer
    return ()


async def _leave_as_is(_: Any) -> None:
    """Spare the round trip by which a pool resets what we never set."""


async def open_postgres(url: str, offset_s: Callable[[], float]) -> PostgresBackend:
    """Connect to a database that `headrace migrate` has made ready.

    Raises:
        StoreError: it cannot be reached, or its tables are older or newer.
    """
    database = Database(url, offset_s)
    try:
        pool = await asyncpg.create_pool(
            connect=lambda *_, **__: database.connect(),
            min_size=0,  # else a server that is away is logged by the pool, too
            max_size=CONNECTIONS,
            reset=_leave_as_is,
        )
    except FAILURES as error:
        raise translate(error, url) from error
    try:
        await _check_version(pool, url)
    except BaseException:
        await pool.close()
        raise
    return PostgresBackend(database, pool)


async def _check_version(pool: Any, url: str) -> None:
    try:
        rows = await pool.fetch(of_jobs.schema_version.compiled(POSTGRESQL).text)
    except asyncpg.UndefinedTableError:
        rows = []
    except FAILURES as error:
        raise translate(error, url) from error
    found = rows[0][0] if rows else ""
    if found != SCHEMA_VERSION:
        raise not_ready(found, url)


class PostgresBackend:
    """Transactions on one PostgreSQL database; belongs to one event loop."""

    def __init__(self, database: Database, pool: Any) -> None:
        self._database = database
        self._pool = pool
        self._packer = Packer()

    async def write(self, make: Callable[[], Steps[T]]) -> T:
        async def work(connection: Any) -> T:
            async with connection.transaction():
                return await self._drive(connection, make)

        for _ in range(AGAIN):
            try:
                return await self._with_connection(work)
            except UNDONE:
                continue
        raise StoreError("the store undid the same transaction again and again")

    async def read(self, make: Callable[[], Steps[T]]) -> T:
        return await self._with_connection(lambda c: self._drive(c, make))

    async def _drive(self, connection: Any, make: Callable[[], Steps[T]]) -> T:
        return await drive(connection, make, self._packer, self._database.offset_s())

    async def _with_connection(self, work: Callable[[Any], Awaitable[T]]) -> T:
        try:
            async with self._pool.acquire(timeout=STATEMENT_S) as connection:
                try:
                    return await work(connection)
                except asyncpg.InternalClientError:
                    # The server's farewell was half read: of no more use to anybody.
                    connection.terminate()
                    raise
        except UNDONE:
            raise
        except FAILURES as error:
            raise translate(error, self._database.url) from error

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        return PostgresPulse(self._database, epoch, lease_s)

    async def hold(self, epoch: int) -> None:
        """Nobody on another host could see a lock of ours: only the lease counts."""

    async def free(self, epoch: int) -> None:
        return

    async def let_go(self, epoch: int) -> None:
        return

    async def dead(self, epochs: Sequence[int]) -> list[int]:
        return []

    async def close(self) -> None:
        await self._pool.close()


class PostgresPulse:
    """An owner's heartbeat: its own thread, loop and connection."""

    def __init__(self, database: Database, epoch: int, lease_s: float) -> None:
        self._database = database
        self._epoch = epoch
        self._lease_s = lease_s
        self._packer = Packer()
        self._runner: asyncio.Runner | None = None
        self._open: Any = None

    def renew(self) -> bool:
        return self._run(lambda: steps_beat.renew(self._epoch, self._lease_s))

    def states(self) -> Mapping[int, JobState]:
        return self._run(lambda: steps_beat.states(self._epoch))

    def _run(self, make: Callable[[], Steps[T]]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            return self._runner.run(self._on_connection(make))
        except FAILURES as error:
            raise translate(error, self._database.url) from error

    async def _on_connection(self, make: Callable[[], Steps[T]]) -> T:
        if self._open is None or self._open.is_closed():
            self._open = await self._database.connect()
        return await drive(self._open, make, self._packer, self._database.offset_s())

    def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._disconnect())

    async def _disconnect(self) -> None:
        if self._open is not None:
            self._open.terminate()
            self._open = None
