"""What only PostgreSQL has: one clock for many hosts, and a server that may go."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from headrace.errors import StoreError
from headrace.jobs import Job
from headrace.ports import Store
from headrace.stores.opening import migrate, open_store
from headrace.testing.clocks import MovableClock
from headrace.testing.store_world import owner, raises, submit, succeeded, take
from servers import PostgresServer, free_port, postgres_server

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_hosts_whose_clocks_differ_by_five_minutes_agree(migrated: str) -> None:
    async def main() -> None:
        ahead, behind = MovableClock(2_000_000_300.0), MovableClock(2_000_000_000.0)
        first = await open_store(migrated, ahead)
        second = await open_store(migrated, behind)
        job = await submit(first, 4, deadline_s=100.0)
        mine = await take(first, await owner(first), job, 2)
        epoch = await owner(second)
        theirs = await take(second, epoch, job, 2)
        assert await first.rescue(3) == await second.rescue(3) == 0
        assert await first.sweep() == await second.sweep() == 0
        await second.record(epoch, [succeeded(lease) for lease in theirs])
        page = await first.outcomes(job.number)
        assert {outcome.index for outcome in page} == {2, 3}
        assert [lease.seq for lease in mine] == [0, 1]
        await first.close()
        await second.close()

    asyncio.run(main())


def test_a_lease_runs_out_by_the_servers_clock(migrated: str) -> None:
    async def main() -> None:
        later = 0.0
        now = await open_store(migrated, MovableClock())
        then = await open_store(migrated, MovableClock(), offset_s=lambda: later)
        job = await submit(now, 2)
        await take(now, await owner(now), job)
        assert await then.rescue(3) == 0
        later = 31.0
        assert await then.rescue(3) == 2
        await now.close()
        await then.close()

    asyncio.run(main())


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    address = f"postgresql://me:secret@127.0.0.1:{free_port()}/db"

    async def main() -> None:
        error = await raises(StoreError, open_store(address, MovableClock()))
        assert "cannot be reached" in str(error)
        assert "secret" not in str(error)

    asyncio.run(main())


def test_a_missing_database_is_named(postgres: str) -> None:
    async def main() -> None:
        error = await raises(StoreError, open_store(f"{postgres}/no", MovableClock()))
        assert "no such database" in str(error)

    asyncio.run(main())


def test_a_connection_that_breaks_is_an_error_once(migrated: str) -> None:
    async def main() -> None:
        store = await open_store(migrated, MovableClock())
        job = await submit(store, 2)
        pulse = store.pulse(await owner(store), 30)
        assert await asyncio.to_thread(pulse.renew)
        other = await asyncpg.connect(migrated)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await other.close()
        for doing in (
            lambda: store.job(job.id),
            lambda: asyncio.to_thread(pulse.renew),
        ):
            try:
                await doing()
            except StoreError:
                assert await doing()
        await asyncio.to_thread(pulse.close)
        await store.close()

    asyncio.run(main())


async def work(store: Store, job: Job, done: asyncio.Queue[int]) -> None:
    """Lease and record to the end; whatever fails is tried again."""
    epoch = await owner(store)
    ended = 0
    while ended < job.counts.total:
        try:
            leases = await take(store, epoch, job, 5)
            await store.record(epoch, [succeeded(lease) for lease in leases])
            if not leases:
                await store.reclaim(job.number)
            ended = (await store.job(job.id)).counts.ended
        except StoreError:
            await asyncio.sleep(0.02)
        done.put_nowait(ended)


async def crash_at(server: PostgresServer, marks: list[int], done: asyncio.Queue[int]):
    """Crash and start the server whenever so many items have ended."""
    for mark in marks:
        while await done.get() < mark:
            pass
        await asyncio.to_thread(server.crash)
        await asyncio.to_thread(server.start)


def test_a_crash_of_the_server_loses_and_doubles_nothing() -> None:
    async def main(server: PostgresServer) -> None:
        address = f"{server.address}/postgres"
        await migrate(address, MovableClock())
        store = await open_store(address, MovableClock())
        job = await submit(store, 1500)
        done: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(work(store, job, done))
            group.create_task(crash_at(server, [100, 600, 1100], done))
        page = await store.outcomes(job.number, limit=2000)
        assert sorted(outcome.index for outcome in page) == list(range(1500))
        await store.close()

    with postgres_server() as server:
        asyncio.run(main(server))
