"""The stores alone: items submitted, leased and recorded, beside bare SQL.

Usage: stores.py [postgresql://…]; a SQLite file in a scratch folder always, and the
PostgreSQL database named, which must be empty or migrated.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from headrace.clock import SystemClock
from headrace.jobs import Finished, Job, Leased, NewItem, NewJob
from headrace.model import ItemState, Outcome, Trace
from headrace.ports import Store
from headrace.stores.opening import migrate, open_store
from measure import REPEATS, median, table

ITEMS = int(os.environ.get("BENCH_ITEMS", "200000"))
CHUNK = 4_000
GROUP = 500
PAYLOAD = b'{"path":"/v1/chat/completions","body":{"model":"m","messages":[]}}'
BODY = b'{"id":"x","choices":[]}'


def floor(path: Path) -> tuple[float, float]:
    """Return rows a second of bare executemany: inserts, then updates and inserts."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")
    connection.execute("CREATE UNIQUE INDEX b ON a (name)")
    connection.execute("CREATE TABLE r (id INTEGER PRIMARY KEY, body BLOB)")
    start = time.perf_counter()
    for first in range(0, ITEMS, CHUNK):
        rows = [(k, f"item-{k}", PAYLOAD) for k in range(first, first + CHUNK)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO a VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    insert_s = time.perf_counter() - start
    start = time.perf_counter()
    for first in range(0, ITEMS, GROUP):
        keys = [(k,) for k in range(first, first + GROUP)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE a SET body = NULL WHERE id = ?", keys)
        connection.executemany(
            "INSERT INTO r VALUES (?, ?)", [(*k, BODY) for k in keys]
        )
        connection.execute("COMMIT")
    update_s = time.perf_counter() - start
    connection.close()
    return ITEMS / insert_s, ITEMS / update_s


async def submit(store: Store) -> tuple[Job, float]:
    """Submit the items; return the job and how many went in a second."""
    job, _ = await store.create(NewJob("bench"))
    start = time.perf_counter()
    for first in range(0, ITEMS, CHUNK):
        names = range(first, min(first + CHUNK, ITEMS))
        await store.add(job.number, [NewItem(f"item-{k}", PAYLOAD) for k in names])
    return await store.seal(job.number), ITEMS / (time.perf_counter() - start)


def ended(lease: Leased) -> Finished:
    """Return a success."""
    outcome = Outcome(
        lease.custom_id, lease.seq, ItemState.SUCCEEDED, status=200, trace=Trace(1, 1)
    )
    return Finished(lease, outcome, BODY)


async def run(store: Store, job: Job) -> float:
    """Lease and record in groups; return items a second."""
    epoch = await store.register("bench", os.getpid(), 600.0)
    start = time.perf_counter()
    while leases := await store.lease(epoch, [(job.number, GROUP)]):
        await store.record(epoch, [ended(lease) for lease in leases])
    per_s = ITEMS / (time.perf_counter() - start)
    await store.retire(epoch)
    return per_s


async def page(store: Store, job: Job) -> float:
    """Read all outcomes; return how many a second."""
    start = time.perf_counter()
    after = seen = 0
    while found := await store.outcomes(job.number, after, GROUP):
        after, seen = found[-1].number, seen + len(found)
    assert seen == ITEMS
    return ITEMS / (time.perf_counter() - start)


async def measure(address: str) -> tuple[float, float, float]:
    """Return items submitted, run and read a second."""
    await migrate(address, SystemClock())
    store = await open_store(address, SystemClock())
    job, submit_per_s = await submit(store)
    run_per_s = await run(store, job)
    read_per_s = await page(store, job)
    await store.remove(job.number)
    await store.close()
    return submit_per_s, run_per_s, read_per_s


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        floors = [floor(Path(folder) / f"floor-{n}.db") for n in range(REPEATS)]
        bare = [median([value[k] for value in floors]) for k in range(2)]
        rows.append(["bare sqlite3", f"{bare[0]:,.0f}", f"{bare[1]:,.0f}", "", "", ""])
        stores = {"memory": ":memory:", "SQLite": f"{folder}/store.db"}
        if len(sys.argv) > 1:
            stores["PostgreSQL"] = sys.argv[1]
        for name, address in stores.items():
            found = [asyncio.run(measure(address)) for _ in range(REPEATS)]
            speeds = [median([value[k] for value in found]) for k in range(3)]
            ratios = [f"{speeds[k] / bare[k]:.2f}" for k in range(2)]
            rows.append([name, *(f"{speed:,.0f}" for speed in speeds), *ratios])
    table(
        f"Stores alone, {ITEMS:,} items, groups of {GROUP}",
        ["store", "submit/s", "lease+record/s", "read/s", "of bare", "of bare"],
        rows,
    )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mb:.0f} MB (the memory store's own included)")


if __name__ == "__main__":
    main()
