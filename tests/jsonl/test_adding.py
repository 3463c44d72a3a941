from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headrace.clock import SystemClock
from headrace.errors import WrongState
from headrace.jobs import Job, NewItem, NewJob
from headrace.jsonl.submission import Adding
from headrace.jsonl.validation import Batch
from headrace.stores.memory import MemoryStore


def _batch(*names: str) -> Batch:
    return Batch([NewItem(name, b"{}") for name in names], list(range(len(names))))


async def _job(store: MemoryStore) -> Job:
    return (await store.create(NewJob("r")))[0]


def _unexpected(line: int, name: str) -> None:
    raise AssertionError(f"{name} in line {line} is no double")


def test_batches_are_stored_in_their_order() -> None:
    async def main() -> tuple[int, list[str]]:
        store = MemoryStore(SystemClock())
        job = await _job(store)
        async with Adding(store, job.number, _unexpected) as adding:
            for n in range(5):
                await adding.add(_batch(f"{n}a", f"{n}b"))
            total = await adding.wait_stored()
        await store.seal(job.number)
        epoch = await store.register("h", 1, 30.0)
        leases = await store.lease(epoch, [(job.number, 100)])
        return total, [lease.custom_id for lease in leases]

    names = [f"{n}{letter}" for n in range(5) for letter in "ab"]
    assert asyncio.run(main()) == (10, names)


def test_doubles_are_told_and_left_out() -> None:
    async def main() -> tuple[int, list[str]]:
        store = MemoryStore(SystemClock())
        job = await _job(store)
        doubles: list[str] = []

        def on_double(_line: int, name: str) -> None:
            doubles.append(name)

        async with Adding(store, job.number, on_double) as adding:
            await adding.add(_batch("a", "b"))
            await adding.add(_batch("c", "a"))
        return await adding.wait_stored(), doubles

    assert asyncio.run(main()) == (3, ["a"])


def test_what_could_not_be_stored_is_told_with_the_next_batch() -> None:
    async def main() -> None:
        store = MemoryStore(SystemClock())
        job = await _job(store)
        await store.seal(job.number)
        async with Adding(store, job.number, _unexpected) as adding:
            await adding.add(_batch("a"))
            await adding.add(_batch("b"))

    with pytest.raises(WrongState):
        asyncio.run(main())


def test_what_could_not_be_stored_last_is_told_at_the_end() -> None:
    async def main() -> None:
        store = MemoryStore(SystemClock())
        job = await _job(store)
        await store.seal(job.number)
        async with Adding(store, job.number, _unexpected) as adding:
            await adding.add(_batch("a"))

    with pytest.raises(WrongState):
        asyncio.run(main())


class _BusyStore(MemoryStore):
    """Adds when it is told to; notes how many items came together."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.go = asyncio.Event()
        self.sizes: list[int] = []

    async def add(self, job: int, items: Sequence[NewItem]) -> None:
        self.sizes.append(len(items))
        await self.go.wait()
        await super().add(job, items)


def test_what_comes_while_the_store_is_busy_goes_in_together() -> None:
    async def main() -> tuple[int, list[int]]:
        store = _BusyStore()
        job = await _job(store)
        async with Adding(store, job.number, _unexpected) as adding:
            for n in range(10):
                await adding.add(_batch(f"{n}a", f"{n}b"))
            store.go.set()
            return await adding.wait_stored(), store.sizes

    assert asyncio.run(main()) == (20, [2, 18])


def test_who_reads_much_faster_than_the_store_takes_it_waits() -> None:
    async def main() -> int:
        store = _BusyStore()
        job = await _job(store)
        begun = 0

        async def read() -> None:
            nonlocal begun
            async with Adding(store, job.number, _unexpected) as adding:
                for n in range(1_000):
                    begun = n
                    await adding.add(_batch(str(n)))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read()
        return begun

    assert 0 < asyncio.run(main()) < 50


class _SlowStore(MemoryStore):
    """Takes for ever to add."""

    async def add(self, *_: object) -> None:
        await asyncio.Event().wait()


def test_a_block_that_fails_leaves_nothing_under_way() -> None:
    async def main() -> int:
        store = _SlowStore(SystemClock())
        job = await _job(store)

        async def fail() -> None:
            async with Adding(store, job.number, _unexpected) as adding:
                await adding.add(_batch("a"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_who_is_cancelled_while_it_waits_leaves_nothing_under_way() -> None:
    async def main() -> int:
        store = _SlowStore(SystemClock())
        job = await _job(store)

        async def submit() -> None:
            async with Adding(store, job.number, _unexpected) as adding:
                await adding.add(_batch("a"))
                await adding.add(_batch("b"))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await submit()
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
