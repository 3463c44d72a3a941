"""A process that works on a job in a SQLite file until nothing is left.

python process_worker.py FILE JOB
"""

from __future__ import annotations

import asyncio
import os
import sys

from headrace.clock import SystemClock
from headrace.errors import LeaseLost
from headrace.jobs import Job
from headrace.ports import Store
from headrace.stores.opening import open_store
from headrace.testing.store_world import seen, succeeded

LEASE_S = 0.3


async def work(store: Store, job: Job) -> None:
    epoch = await store.register("host", os.getpid(), LEASE_S)
    try:
        while leases := await store.lease(epoch, [(job.number, 20)]):
            body = str(os.getpid()).encode()
            await store.record(epoch, [succeeded(item, body) for item in leases])
    except LeaseLost:
        pass
    await store.retire(epoch)


async def main(path: str, name: str) -> None:
    store = await open_store(path, SystemClock())
    job = await store.job(name)
    assert job is not None
    print("ready", flush=True)
    while job.counts.ended < job.counts.total:
        await work(store, job)
        await store.rescue(1_000_000)
        await asyncio.sleep(0.01)
        job = await seen(store, job)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
