from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from headrace.errors import StoreError
from headrace.jobs import Trouble
from headrace.model import Usage
from headrace.stores import migrating
from headrace.stores.migrating import migrate_sqlite, revisions
from headrace.stores.opening import migrate, open_store
from headrace.stores.schema import SCHEMA_VERSION
from headrace.testing.clocks import MovableClock
from headrace.testing.store_checks_sums import costing
from headrace.testing.store_world import owner, submit, succeeded, take

MIGRATIONS = Path(migrating.__file__).parent / "migrations"
ROWS = Path(__file__).with_name("rows_of_v0001.sql")
"""A job of three items, as the first version wrote it: one succeeded, one failed."""


def made_of(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    return sorted((name, "".join((sql or "").split())) for name, sql in rows)


def stamp(path: Path, version: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


async def open_and_close(address: str | Path) -> None:
    await (await open_store(address, MovableClock())).close()


def upgrade_to_first(connection: Connection) -> None:
    """Make the tables as the first version of the program did."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


async def check_upgraded(address: str | Path) -> None:
    """Open the store, look at the old job, and go on with it."""
    store = await open_store(address, MovableClock())
    job = await store.job("old")
    assert job is not None
    assert (job.counts.succeeded, job.counts.failed, job.counts.queued) == (1, 1, 1)
    assert (job.input_tokens, job.cost_usd) == (0, 0)
    good, bad = await store.outcomes(job.number)
    assert (good.value, good.usage, good.cost_usd) == (b'{"n": 1}', Usage(11, 7), None)
    assert bad.failure is not None
    assert await store.troubles(job.number) == [Trouble("east", "bad_call", 1, "no")]
    epoch = await owner(store)
    (lease,) = await take(store, epoch, job)
    done = costing(succeeded(lease), Usage(1, 2), "0.5")
    recorded = await store.record(epoch, [done])
    assert recorded.jobs[job.number].cost_usd == Decimal("0.5")
    await store.remember({"a": b"1"})
    assert await store.recall("a") == {"a": b"1"}
    await store.close()


def test_the_last_migration_is_the_version_that_programs_expect() -> None:
    assert revisions()[-1] == SCHEMA_VERSION


def test_migrations_lead_to_the_same_tables_as_a_new_file(tmp_path: Path) -> None:
    new, migrated = tmp_path / "new.db", tmp_path / "migrated.db"
    asyncio.run(open_and_close(new))
    migrate_sqlite(migrated)
    assert made_of(new) == made_of(migrated)


def test_an_older_file_is_copied_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    asyncio.run(open_and_close(path))
    assert (tmp_path / f"a.db.before-{SCHEMA_VERSION}").exists()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert rows == [(SCHEMA_VERSION,)]


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(open_and_close(path))
    stamp(path, "9999")
    with pytest.raises(StoreError, match="newer than this program"):
        asyncio.run(open_and_close(path))
    assert list(tmp_path.glob("*.before-*")) == []


def test_a_beat_notices_that_the_tables_were_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def main() -> None:
        store = await open_store(path, MovableClock())
        pulse = store.pulse(await owner(store), 30)
        try:
            assert pulse.renew()
            stamp(path, "9999")
            with pytest.raises(StoreError, match="another version"):
                pulse.renew()
        finally:
            pulse.close()
            await store.close()

    asyncio.run(main())


def test_a_file_is_migrated_by_name_too(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(migrate(f"sqlite:///{path}", MovableClock()))
    assert path.exists()


def test_an_upgrade_keeps_what_the_first_version_had(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade_to_first(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(ROWS.read_text())
    asyncio.run(check_upgraded(path))
    with closing(sqlite3.connect(f"{path}.before-{SCHEMA_VERSION}")) as copy:
        found = copy.execute("SELECT version_num FROM alembic_version").fetchall()
        assert found == [("0001",)]
        assert copy.execute("SELECT count(*) FROM items").fetchall() == [(3,)]


@pytest.mark.postgres
def test_a_databases_upgrade_keeps_what_the_first_version_had(database: str) -> None:
    async def main() -> None:
        address = database.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(address)
        async with engine.begin() as connection:
            await connection.run_sync(upgrade_to_first)
        await engine.dispose()
        raw = await asyncpg.connect(database)
        await raw.execute(re.sub(r"X'(\w*)'", r"'\\x\1'", ROWS.read_text()))
        await raw.close()
        with pytest.raises(StoreError, match="`headrace migrate`"):
            await open_and_close(database)
        await migrate(database, MovableClock())
        await check_upgraded(database)

    asyncio.run(main())


@pytest.mark.postgres
def test_an_empty_database_asks_for_headrace_migrate(database: str) -> None:
    with pytest.raises(StoreError, match="`headrace migrate`"):
        asyncio.run(open_and_close(database))
    asyncio.run(migrate(database, MovableClock()))
    asyncio.run(migrate(database, MovableClock()))
    asyncio.run(open_and_close(database))


@pytest.mark.postgres
def test_a_newer_database_is_refused(migrated: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(migrated)
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await connection.close()
        with pytest.raises(StoreError, match="newer than this program"):
            await open_and_close(migrated)
        with pytest.raises(StoreError, match="migration failed"):
            await migrate(migrated, MovableClock())

    asyncio.run(main())


@pytest.mark.postgres
def test_migrations_make_the_tables_that_statements_expect(migrated: str) -> None:
    async def main() -> None:
        store = await open_store(migrated, MovableClock())
        job = await submit(store, 3)
        assert job.counts.queued == 3
        await store.close()

    asyncio.run(main())
