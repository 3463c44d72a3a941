from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.ports import Store
from headrace.stores.opening import open_store
from headrace.testing.store_world import new_items, seen, submit, sweep_all

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.timeout(120)]

WORKER = str(Path(__file__).with_name("process_worker.py"))
ITEMS = 6000
KILLS = 10


async def start(path: Path, name: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, WORKER, str(path), name, stdout=PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    return process


async def killed_at_random(path: Path, name: str, seed: int) -> int:
    """Run a worker again and again, killed at random instants, then let one end."""
    chance = random.Random(seed)
    kills = 0
    for _ in range(KILLS // 2):
        process = await start(path, name)
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        if process.returncode is None:
            process.kill()
            kills += 1
        await process.wait()
    last = await start(path, name)
    assert await last.wait() == 0
    return kills


async def check_whole(store: Store, name: str) -> None:
    job = await store.job(name)
    assert job.counts.succeeded == ITEMS
    page = await store.outcomes(job.number, limit=ITEMS + 1)
    assert sorted(outcome.index for outcome in page) == list(range(ITEMS))
    numbers = [outcome.number for outcome in page]
    assert numbers == sorted(set(numbers))


def test_killed_processes_on_one_file_lose_and_double_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        store = await open_store(path, SystemClock())
        await submit(store, ITEMS, name="n")
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        runs = [killed_at_random(path, "n", seed + k) for k in range(2)]
        assert sum(await asyncio.gather(*runs)) > 0
        await check_whole(store, "n")
        await store.close()

    asyncio.run(main())


def test_a_reader_sees_everything_while_processes_are_killed(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        store = await open_store(path, SystemClock())
        job = await submit(store, ITEMS, name="n")
        working = asyncio.ensure_future(killed_at_random(path, "n", 1))
        found: list[int] = []
        after = 0
        while len(found) < ITEMS:
            page = await store.outcomes(job.number, after, 300)
            found += [outcome.index for outcome in page]
            after = page[-1].number if page else after
            await asyncio.sleep(0.002)
        await working
        assert sorted(found) == list(range(ITEMS))
        await store.close()

    asyncio.run(main())


def test_several_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        stores = await asyncio.gather(
            *(open_store(path, SystemClock()) for _ in range(6))
        )
        made = await asyncio.gather(*(submit(store, 5) for store in stores))
        assert len({job.number for job in made}) == 6
        for store in stores:
            await store.close()

    asyncio.run(main())


def test_two_stores_on_one_file_see_each_others_work(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        first = await open_store(path, SystemClock())
        second = await open_store(path, SystemClock())
        job = await submit(first, 3)
        await second.cancel(job.number)
        await sweep_all(first)
        assert (await seen(second, job)).counts.cancelled == len(new_items(3))
        await first.close()
        await second.close()

    asyncio.run(main())
