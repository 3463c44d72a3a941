"""A process that leases all items of a job for a long time, to be killed from outside.

python lease_holder.py FILE JOB
"""

from __future__ import annotations

import asyncio
import os
import sys

from headrace.clock import SystemClock
from headrace.stores.opening import open_store


async def main(path: str, job: int) -> None:
    store = await open_store(path, SystemClock())
    epoch = await store.register("host", os.getpid(), 1_000.0)
    print(f"holds {len(await store.lease(epoch, [(job, 100)]))}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
