"""What SQLite refuses becomes one clear error, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.jobs import NewItem, NewJob
from headrace.ports import Store
from headrace.stores import sqlite_connection
from headrace.stores.opening import open_store
from headrace.stores.sql import SqlStore
from headrace.stores.sqlite import open_sqlite
from headrace.stores.sqlite_connection import Connection, SqliteFile
from headrace.testing.clocks import MovableClock
from headrace.testing.store_world import new_items, raises, submit


def with_store(path: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await open_store(path, MovableClock())
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def refusal(path: Path | str) -> str:
    """Return the message with which the store cannot be opened."""

    async def nothing(_: Store) -> None:
        return

    with pytest.raises(StoreError) as caught:
        with_store(path, nothing)
    return str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    message = refusal(path)
    assert str(path) in message
    assert "not a SQLite database" in message


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def fill(store: Store) -> None:
        await submit(store, 2000)

    with_store(path, fill)
    content = bytearray(path.read_bytes())
    content[4096 : len(content) : 7] = b"\xff" * len(content[4096 : len(content) : 7])
    path.write_bytes(content)

    async def read(store: Store) -> None:
        await store.jobs()

    with pytest.raises(StoreError, match="damaged") as caught:
        with_store(path, read)
    assert str(path) in str(caught.value)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    assert "belongs to another program" in refusal(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in refusal(tmp_path / "no" / "a.db")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(tmp_path)


def test_an_unknown_kind_of_address_is_refused() -> None:
    assert "postgresql://" in refusal("mysql://host/db")


def test_a_read_only_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def fill(store: Store) -> None:
        await submit(store)

    with_store(path, fill)
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write to any file")
    with pytest.raises(StoreError, match="read-only"):
        with_store(path, fill)


def on_writer(
    path: Path, pragma: str, work: Callable[[Store], Awaitable[None]]
) -> None:
    """Work on a store whose writing connection has been given a pragma."""

    async def main() -> None:
        backend = await open_sqlite(SqliteFile(path, MovableClock()))
        backend._writer.raw.execute(pragma)
        store = SqlStore(backend)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def test_a_refused_write_says_that_the_file_is_read_only(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        error = await raises(StoreError, store.create(NewJob("r")))
        assert "read-only" in str(error)

    on_writer(tmp_path / "a.db", "PRAGMA query_only=ON", work)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def overfill(store: Store) -> None:
        job, _ = await store.create(NewJob("r", name="n"))
        await store.add(job.number, new_items(10))
        big = [NewItem(f"big-{n}", os.urandom(100_000)) for n in range(50)]
        error = await raises(StoreError, store.add(job.number, big))
        assert "disk is full" in str(error)
        assert str(path) in str(error)
        assert (await store.job("n")).counts.total == 10
        await store.add(job.number, new_items(1, 10))

    on_writer(path, "PRAGMA max_page_count=60", overfill)

    async def go_on(store: Store) -> None:
        job = await store.job("n")
        assert (await store.seal(job.number)).counts.queued == 11

    with_store(path, go_on)


def test_a_file_locked_for_too_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    monkeypatch.setattr(sqlite_connection, "BUSY_S", 0.05)

    async def work(store: Store) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        error = await raises(StoreError, store.create(NewJob("r")))
        assert "another process" in str(error)
        assert await store.jobs() == []
        other.execute("ROLLBACK")
        other.close()
        await store.create(NewJob("r"))

    with_store(path, work)


def test_a_cancelled_caller_leaves_the_writer_working(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        job, _ = await store.create(NewJob("r", name="n"))
        for n in range(20):
            adding = asyncio.ensure_future(
                store.add(job.number, new_items(500, n * 500))
            )
            await asyncio.sleep(0)
            adding.cancel()
            await asyncio.wait([adding])
        await store.set_priority(job.number, 2)  # stands behind all of them
        total = (await store.job("n")).counts.total
        assert total % 500 == 0
        await store.add(job.number, new_items(5, 10_000))
        assert (await store.job("n")).counts.total == total + 5

    with_store(tmp_path / "a.db", work)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        store = await open_store(tmp_path / "a.db", MovableClock())
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.jobs()

    asyncio.run(main())


def test_full_durability_is_a_setting(tmp_path: Path) -> None:
    connection = Connection(SqliteFile(tmp_path / "a.db", MovableClock(), "full"))
    assert connection.raw.execute("PRAGMA synchronous").fetchall() == [(2,)]
    connection.close()
