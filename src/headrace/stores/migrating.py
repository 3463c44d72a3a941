"""Runs the migrations in `migrations/`, with Alembic, as part of the program."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from headrace.errors import StoreError
from headrace.stores.postgres_errors import FAILURES, shown, translate
from headrace.stores.schema import SCHEMA_VERSION

_LOCK_KEY: Final = 0x68656164  # "head": any number that others are unlikely to lock


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def revisions() -> list[str]:
    """Return the names of all migrations, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def is_older(found: str) -> bool:
    """Return whether tables of this version can be migrated to today's."""
    return found == "" or (found != SCHEMA_VERSION and found in revisions())


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def migrate_sqlite(path: Path) -> None:
    """Bring a file's tables to `SCHEMA_VERSION`, wholly or not at all."""

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=10.0, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # sqlite3 begins none before DDL

    with engine.begin() as connection:
        _upgrade(connection)
    engine.dispose()


async def migrate_postgres(url: str) -> None:
    """Bring a database's tables to `SCHEMA_VERSION`, wholly or not at all.

    Raises:
        StoreError: it cannot be reached, or its tables are newer.
    """

    async def connect() -> Any:
        return await asyncpg.connect(url)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            lock = text("SELECT pg_advisory_xact_lock(:key)")  # one migration at a time
            await connection.execute(lock, {"key": _LOCK_KEY})
            await connection.run_sync(_upgrade)
    except FAILURES as error:
        raise translate(error, url) from error
    except (DBAPIError, CommandError) as error:
        cause = error.__cause__ or error
        raise StoreError(
            f"store {shown(url)}: the migration failed: {cause}"
        ) from error
    finally:
        await engine.dispose()
