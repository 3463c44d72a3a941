"""Whoever is dead for certain is not waited for."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.errors import StoreError
from headrace.ports import Store
from headrace.stores.opening import open_store
from headrace.stores.sql import SqlStore
from headrace.stores.sqlite import open_sqlite
from headrace.stores.sqlite_connection import SqliteFile
from headrace.stores.sqlite_lives import Lives
from headrace.testing.store_world import seen, submit

HOLDER = str(Path(__file__).with_name("lease_holder.py"))
LONG_S = 1_000.0


def locks_in(folder: Path) -> list[Path]:
    return list(folder.glob("a.db.owner*"))


async def opened(path: Path) -> Store:
    return await open_store(path, SystemClock())


@pytest.mark.live
@pytest.mark.slow
def test_items_of_a_killed_process_are_free_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        store = await opened(path)
        job = await submit(store, 5)
        process = await asyncio.create_subprocess_exec(
            sys.executable, HOLDER, str(path), str(job.number), stdout=PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"holds 5\n"
        assert await store.rescue(5) == 0
        process.kill()
        await process.wait()
        assert await store.rescue(5) == 5
        assert (await seen(store, job)).counts.ended == 0
        assert not locks_in(tmp_path)
        await store.close()

    asyncio.run(main())


def test_an_owner_of_this_process_is_not_taken_for_dead(tmp_path: Path) -> None:
    async def main() -> None:
        store, other = await opened(tmp_path / "a.db"), await opened(tmp_path / "a.db")
        job = await submit(store, 5)
        epoch = await store.register("host", 1, LONG_S)
        await store.lease(epoch, [(job.number, 5)])
        assert await store.rescue(5) == await other.rescue(5) == 0
        await store.close()  # without a word, as a kill would
        assert await other.rescue(5) == 5
        await other.close()

    asyncio.run(main())


def test_an_owner_without_a_lock_keeps_its_lease(tmp_path: Path) -> None:
    async def main() -> None:
        store, other = await opened(tmp_path / "a.db"), await opened(tmp_path / "a.db")
        job = await submit(store, 5)
        epoch = await store.register("host", 1, LONG_S)
        await store.lease(epoch, [(job.number, 5)])
        (tmp_path / f"a.db.owner-{epoch}").unlink()
        await store.close()
        assert await other.rescue(5) == 0
        await other.close()

    asyncio.run(main())


def test_who_retires_leaves_no_lock(tmp_path: Path) -> None:
    async def main() -> None:
        store = await opened(tmp_path / "a.db")
        epoch = await store.register("host", 1, LONG_S)
        assert locks_in(tmp_path)
        await store.retire(epoch)
        assert not locks_in(tmp_path)
        await store.close()

    asyncio.run(main())


def test_who_cannot_say_that_it_ends_is_seen_dead_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        backend = await open_sqlite(SqliteFile(tmp_path / "a.db", SystemClock()))
        store = SqlStore(backend)
        job = await submit(store, 5)
        epoch = await store.register("host", 1, LONG_S)
        await store.lease(epoch, [(job.number, 5)])
        backend._writer.raw.execute("PRAGMA query_only=ON")
        with pytest.raises(StoreError, match="read-only"):
            await store.retire(epoch)
        backend._writer.raw.execute("PRAGMA query_only=OFF")
        assert await store.rescue(5) == 5
        assert not locks_in(tmp_path)
        await store.close()

    asyncio.run(main())


def test_in_a_folder_that_is_gone_nothing_is_certain(tmp_path: Path) -> None:
    lives = Lives(tmp_path / "nowhere" / "a.db")
    lives.hold(1)
    assert lives.dead([1]) == []
    lives.let_go(1)
