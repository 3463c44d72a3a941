"""Files in tables: the contract of files, and two services on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select

from headrace.errors import StoreError
from headrace.files.table import TableFiles
from headrace.ports import PIECE_BYTES, FilePieces
from headrace.stores.opening import open_store
from headrace.stores.schema import file_bodies, file_pieces
from headrace.stores.statement import Query, Statement, Steps
from headrace.stores.steps_pieces import LEASE_S, REMOVED_AT_ONCE
from headrace.testing.clocks import MovableClock
from headrace.testing.files_contract import CHECKS, FilesCheck, pieces, whole

DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
on_each = pytest.mark.parametrize("opens", DATABASES, indirect=True)
SOON_S = LEASE_S - 1
LATER_S = LEASE_S + 1

bodies_left = Statement(lambda _: select(func.count()).select_from(file_bodies))
pieces_left = Statement(lambda _: select(func.count()).select_from(file_pieces))


def pieces_of(store: Any) -> FilePieces:
    found: FilePieces = store.file_pieces()
    return found


async def left_in(store: Any) -> tuple[int, int]:
    """Return how many bodies and pieces there are."""

    def count() -> Steps[tuple[int, int]]:
        bodies = yield Query(bodies_left)
        rows = yield Query(pieces_left)
        return int(bodies[0][0]), int(rows[0][0])

    found: tuple[int, int] = await store._backend.read(count)
    return found


class SlowUpload:
    """Bytes of a file that stop half way, until they are let go."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"x" * (2 * PIECE_BYTES)
        self.has_begun.set()
        await self.may_end.wait()
        yield b"y" * PIECE_BYTES


async def with_upload(
    world: Any, act: Callable[[Any, TableFiles, TableFiles], Awaitable[None]]
) -> asyncio.Task[int]:
    """Do something while a first service uploads and a second stands by."""
    first, second = (TableFiles(pieces_of(world.store)) for _ in range(2))
    upload = SlowUpload()
    writing = asyncio.create_task(first.write("a", upload.chunks()))
    await upload.has_begun.wait()
    await act(world, first, second)
    assert await second.size("a") is None
    upload.may_end.set()
    await asyncio.wait([writing])
    return writing


@on_each
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_files_in_tables_keep_the_contract(check: FilesCheck, opens: Any) -> None:
    async def main() -> None:
        async with opens() as world:
            files = TableFiles(pieces_of(world.store))
            await check(files)
            world.advance(LATER_S)
            await files.tidy()
            names = [
                name for name in ("a", "a-1_B") if await files.size(name) is not None
            ]
            assert (await left_in(world.store))[0] == len(names)

    asyncio.run(main())


@on_each
def test_an_upload_under_way_is_left_alone_by_another_service(opens: Any) -> None:
    async def time_passes(world: Any, first: TableFiles, second: TableFiles) -> None:
        for _ in range(3):
            world.advance(SOON_S)
            await first.tidy()
            await second.tidy()

    async def main() -> None:
        async with opens() as world:
            writing = await with_upload(world, time_passes)
            assert writing.result() == 3 * PIECE_BYTES
            assert await left_in(world.store) == (1, 3)

    asyncio.run(main())


@on_each
def test_what_a_dead_writer_left_is_removed_by_another_service(opens: Any) -> None:
    async def time_passes(world: Any, _: TableFiles, second: TableFiles) -> None:
        world.advance(SOON_S)
        await second.tidy()
        assert await left_in(world.store) == (1, 2)
        world.advance(2)
        await second.tidy()
        assert await left_in(world.store) == (0, 0)

    async def main() -> None:
        async with opens() as world:
            writing = await with_upload(world, time_passes)
            with pytest.raises(StoreError, match="send it again"):
                writing.result()
            assert await left_in(world.store) == (0, 0)

    asyncio.run(main())


@on_each
def test_who_reads_a_file_reads_it_to_its_end_though_it_is_deleted(opens: Any) -> None:
    data = b"first" * 900_000

    async def main() -> None:
        async with opens() as world:
            reader, other = (TableFiles(pieces_of(world.store)) for _ in range(2))
            await reader.write("a", pieces(data))
            reading = reader.read("a")
            found = [await anext(reading)]
            assert await other.delete("a")
            for _ in range(3):
                world.advance(SOON_S)
                await reader.tidy()
                await other.tidy()
            found += [piece async for piece in reading]
            assert b"".join(found) == data
            world.advance(LATER_S)
            await other.tidy()
            assert await left_in(world.store) == (0, 0)

    asyncio.run(main())


@on_each
def test_a_reader_whose_process_slept_too_long_is_told(opens: Any) -> None:
    async def main() -> None:
        async with opens() as world:
            reader, other = (TableFiles(pieces_of(world.store)) for _ in range(2))
            await reader.write("a", pieces(b"x" * 3 * PIECE_BYTES))
            reading = reader.read("a")
            await anext(reading)
            await other.delete("a")
            world.advance(LATER_S)
            await other.tidy()
            with pytest.raises(StoreError, match="removed while it was read"):
                await anext(reading)

    asyncio.run(main())


@on_each
def test_a_large_rest_is_removed_in_many_small_steps(opens: Any) -> None:
    count = 2 * REMOVED_AT_ONCE + 1

    async def main() -> None:
        async with opens() as world:
            rows = pieces_of(world.store)
            body = await rows.begin("a")
            for number in range(count):
                await rows.add(body, number, b"x")
            await rows.abandon(body)
            await TableFiles(rows).tidy()
            assert await left_in(world.store) == (0, 0)

    asyncio.run(main())


async def cut_off(address: str) -> None:
    """End all connections of a database, and let nobody in any more."""
    server, _, name = address.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
        name,
    )
    await connection.close()


async def let_in(address: str) -> None:
    """Take a database's connections again."""
    server, _, name = address.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await connection.close()


@pytest.mark.postgres
def test_a_connection_lost_during_an_upload_is_told_and_leaves_nothing(
    migrated: str,
) -> None:
    later_s = 0.0

    async def upload() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PIECE_BYTES)
        await cut_off(migrated)
        yield b"x" * PIECE_BYTES

    async def main() -> None:
        nonlocal later_s
        clock = MovableClock()
        store = await open_store(migrated, clock, offset_s=lambda: later_s)
        files = TableFiles(pieces_of(store))
        with pytest.raises(StoreError, match="store postgresql://"):
            await files.write("a", upload())
        await let_in(migrated)
        assert await files.size("a") is None
        later_s = LATER_S
        await files.tidy()
        assert await left_in(store) == (0, 0)
        assert await files.write("a", pieces(b"again")) == 5
        assert await whole(files, "a") == b"again"
        await store.close()

    asyncio.run(main())
