"""Durable no-op items through the whole engine: submitted, leased, run, recorded.

Usage: durable.py [postgresql://…]; SQLite in a scratch folder without it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

import headrace
from headrace import FunctionRoute, Limits
from measure import REPEATS, median, table

ITEMS = int(os.environ.get("BENCH_ITEMS", "200000"))


async def _nothing(item: int) -> int:
    return item


async def _once(where: str) -> tuple[float, float]:
    route = FunctionRoute("nothing", _nothing, limits=Limits(in_flight=100))
    async with headrace.open(where) as intake:
        start = time.perf_counter()
        submitted = await intake.submit(range(ITEMS), "nothing")
        submit_s = time.perf_counter() - start
    async with headrace.open(where, [route]) as home:
        start = time.perf_counter()
        job = await (await home.job(submitted.id)).wait()
        run_s = time.perf_counter() - start
        assert job.counts.succeeded == ITEMS
        await home.store.remove(job.number)
    return submit_s, run_s


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "bench.db")
        runs = [uvloop.run(_once(where)) for _ in range(REPEATS)]
    name = "PostgreSQL" if "://" in where else "SQLite"
    table(
        f"Durable no-op items, {ITEMS:,}, 100 in flight",
        ["store", "submit items/s", "run items/s"],
        [
            [
                name,
                f"{ITEMS / median([s for s, _ in runs]):,.0f}",
                f"{ITEMS / median([r for _, r in runs]):,.0f}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
