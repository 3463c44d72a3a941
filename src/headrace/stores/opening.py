"""Opens the store that an address names, and migrates what needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from headrace.clock import Clock
from headrace.errors import StoreError
from headrace.ports import Store
from headrace.stores.memory import MemoryStore
from headrace.stores.sql import SqlStore
from headrace.stores.sqlite import open_sqlite
from headrace.stores.sqlite_connection import SqliteFile


def no_offset() -> float:
    """Take PostgreSQL's clock as it is."""
    return 0.0


async def open_store(
    address: str | Path,
    clock: Clock,
    *,
    synchronous: Literal["normal", "full"] = "normal",
    offset_s: Callable[[], float] = no_offset,
) -> Store:
    """Open a store; the caller closes it.

    A SQLite file is made if it is not there, and migrated, after a copy, if its tables
    are older. PostgreSQL is migrated by `migrate` only.

    Args:
        address: a path, `sqlite:///PATH`, `postgresql://…`, or `:memory:`.
        clock: what a SQLite or memory store takes its time from.
        synchronous: `full` makes SQLite safe against a loss of power, too.
        offset_s: tells how many seconds to add to PostgreSQL's clock; for tests.

    Raises:
        StoreError: it cannot be opened; the message says what to do.
    """
    text = str(address)
    if text == ":memory:":
        return MemoryStore(clock)
    if is_postgres(text):
        from headrace.stores.postgres import open_postgres  # asyncpg is slow to import

        return SqlStore(await open_postgres(text, offset_s))
    file = SqliteFile(sqlite_path(text), clock, synchronous)
    return SqlStore(await open_sqlite(file))


async def migrate(address: str | Path, clock: Clock) -> None:
    """Bring a database's tables to what this program knows; idempotent.

    Raises:
        StoreError: it cannot be reached, or its tables are newer.
    """
    text = str(address)
    if is_postgres(text):
        from headrace.stores.migrating import migrate_postgres  # Alembic too

        await migrate_postgres(text)
    elif text != ":memory:":
        await (await open_store(text, clock)).close()


def is_postgres(address: str) -> bool:
    """Does the address name a PostgreSQL database?"""
    return address.startswith(("postgresql://", "postgres://"))


def sqlite_path(address: str) -> Path:
    """Return the file that an address names.

    Raises:
        StoreError: it names another kind of database, or no file.
    """
    path = address.removeprefix("sqlite:///")
    if "://" in path or not path:
        raise StoreError(
            f"store {address!r}: give a path, sqlite:///PATH, postgresql://… or :memory:"
        )
    return Path(path)
