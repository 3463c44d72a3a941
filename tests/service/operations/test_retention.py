"""What a service throws away, and what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import headrace
from headrace.clock import SystemClock
from headrace.durable import Headrace
from headrace.errors import NotFound
from headrace.files.memory import MemoryFiles
from headrace.jobs import NewJob
from headrace.service.openai.batch import Batch, BatchState
from headrace.service.openai.batchbook import BatchBook, Hold
from headrace.service.openai.batchfiles import NewFile
from headrace.service.openai.filestore import FileFacts, FileStore
from headrace.service.operations.retention import Retention
from headrace.service.repeats import KIND as REPEAT
from headrace.service.repeats import Repeats
from headrace.submitting import KIND as SUBMISSION
from stream_building import Steps


class LaterClock(SystemClock):
    """A clock some days ahead."""

    days = 0.0

    def utc(self) -> float:
        return super().utc() + self.days * 86_400


class Room:
    """A store, its files, and what throws away of them."""

    def __init__(self, home: Headrace, keep_days: float | None) -> None:
        self.home = home
        self.clock = LaterClock()
        self.documents = home.store.documents()
        self.bytes = MemoryFiles()
        self.files = FileStore(self.documents, self.bytes, self.clock)
        self.book = BatchBook(self.documents)
        self.retention = Retention(home.store, self.files, self.clock, keep_days)

    async def ended_job(self, **metadata: str) -> int:
        """Run a small job to its end; return its number."""
        job = await self.home.submit(range(3), "steps", metadata=metadata)
        return (await job.wait()).number

    async def put(self, id: str, after_s: int | None = None) -> None:
        """Keep a file of a batch."""
        new = NewFile(id, "", "out.jsonl", "batch_output", after_s)
        await self.files.put(new, _bytes())


async def _bytes() -> AsyncIterator[bytes]:
    yield b"data"


def in_room(
    main: Callable[[Room], Awaitable[Any]], keep_days: float | None = 1.0, at: int = 0
) -> Any:
    """Run a test in a room of its own."""

    async def run() -> Any:
        steps = Steps(at=at) if at else Steps()
        async with headrace.open(":memory:", [steps.route]) as home:
            return await main(Room(home, keep_days))

    return asyncio.run(run())


def a_batch(**fields: Any) -> Batch:
    return Batch("batch_a", "", "file-in", "/v1/x", "24h", 1, 2, **fields)


@pytest.mark.parametrize(("days", "removed"), [(0.9, 0), (1.1, 1)])
def test_ended_jobs_are_removed_after_their_time(days: float, removed: int) -> None:
    async def main(room: Room) -> tuple[int, int]:
        await room.ended_job()
        await room.home.submit(range(9), "steps")
        room.clock.days = days
        pruned = await room.retention.prune()
        return pruned, len(await room.home.store.jobs())

    assert in_room(main, at=5) == (removed, 2 - removed)


def test_without_a_setting_jobs_are_kept_for_ever() -> None:
    async def main(room: Room) -> int:
        await room.ended_job()
        room.clock.days = 36_000
        return await room.retention.prune()

    assert in_room(main, None) == 0


@pytest.mark.parametrize(("ended_at", "is_kept"), [(100, False), (None, True)])
def test_batches_are_forgotten_after_their_time(
    ended_at: int | None, is_kept: bool
) -> None:
    async def main(room: Room) -> bool:
        await room.book.add(a_batch(completed_at=ended_at), Hold())
        await room.retention.prune()
        return await room.book.find("batch_a") is not None

    assert in_room(main) == is_kept


def test_the_job_of_a_batch_that_has_not_ended_stays_however_old_it_is() -> None:
    async def main(room: Room) -> list[bool]:
        number = await room.ended_job(batch="batch_a")
        found = []
        await room.book.add(a_batch(state=BatchState.FINALIZING, job=number), Hold())
        room.clock.days = 30
        await room.retention.prune()
        found.append(await room.home.store.job(number) is not None)
        await room.book.close("batch_a")
        await room.retention.prune()
        found.append(await room.home.store.job(number) is not None)
        return found

    assert in_room(main) == [True, False]


@pytest.mark.parametrize(("after_s", "is_kept"), [(None, False), (10**7, True)])
def test_results_go_with_their_batch_unless_they_have_a_time_of_their_own(
    after_s: int | None, is_kept: bool
) -> None:
    async def main(room: Room) -> bool:
        await room.put("file-out", after_s)
        ended = a_batch(
            completed_at=100, output_file_id="file-out", output_expires_after_s=after_s
        )
        await room.book.add(ended, Hold())
        await room.retention.prune()
        is_seen = await room.files.purpose("file-out", "") is not None
        has_bytes = await room.bytes.size("file-out") is not None
        assert is_seen == has_bytes
        return is_seen

    assert in_room(main) == is_kept


def test_an_expired_file_is_unseen_at_once_and_gone_when_no_batch_needs_it() -> None:
    async def main(room: Room) -> list[tuple[bool, bool]]:
        await room.files.upload("file-in", "", _bytes())
        now = int(room.clock.utc())
        facts = FileFacts("file-in", "", "in.jsonl", "batch", 4, now, now + 3_600)
        await room.files.publish(facts)
        await room.book.add(a_batch(), Hold())
        seen = []
        for step in ("fresh", "expired", "unused"):
            if step == "expired":
                room.clock.days = 1
            if step == "unused":
                room.clock.days = 2
                await room.book.close("batch_a")
            await room.files.tidy(room.book.inputs)
            found, _ = await room.files.newest("", None, None, 10)
            seen.append((bool(found), await room.files.is_kept("file-in", "")))
        with pytest.raises(NotFound):
            await room.files.get("file-in", "")
        assert await room.bytes.size("file-in") is None
        return seen

    assert in_room(main) == [(True, True), (False, True), (False, False)]


def test_repeats_are_forgotten_though_nobody_asks_again() -> None:
    async def main(room: Room) -> list[int]:
        repeats, left = Repeats(room.documents, room.clock), []
        for n in range(25):
            await repeats.note(str(n), "batch_a")
        for days in (0.0, 1.0):
            room.clock.days = days
            await repeats.tidy()
            left.append(len(await room.documents.documents(REPEAT)))
        return left

    assert in_room(main) == [25, 0]


def test_a_job_that_a_dead_process_was_filling_is_removed() -> None:
    async def main(room: Room) -> bool:
        store, left = room.home.store, []
        dead, alive = "other-host/1/1", "other-host/2/1"
        for holder, until_s in ((dead, -1), (alive, 60)):
            job, _ = await store.create(NewJob("steps"))
            until = room.clock.utc() + until_s
            body = holder.encode()
            await room.documents.insert(SUBMISSION, job.id, body, expires_at=until)
            left.append(job.number)
        async with room.retention.kept():
            while await store.job(left[0]) is not None:
                await room.clock.sleep(0.001)
        return [n for n in left if await store.job(n) is not None] == left[1:]

    assert in_room(main)
