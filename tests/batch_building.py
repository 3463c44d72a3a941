"""Batches on a store in memory, and somebody who answers their lines by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace.clock import Clock
from headrace.errors import NotFound
from headrace.jobs import Finished, Job, Leased
from headrace.ports import Store
from headrace.service.openai.batch import BATCH_ENDS, Batch, BatchState
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.batchcourse import CourseTools
from headrace.service.openai.batchfiles import NewFile
from headrace.service.openai.batchinput import InputLimits
from headrace.service.openai.batchkeeper import Batches, NewBatch
from headrace.simulation.virtual import VirtualClock
from headrace.stores.memory import MemoryStore
from headrace.testing.store_world import owner, succeeded

CHAT = "/v1/chat/completions"
INPUT = "file-input"


def a_line(name: str = "a", url: str = CHAT, model: str = "m", **more: Any) -> bytes:
    """Return one line of an input, with its line feed."""
    body = {"model": model, "messages": []}
    line = {"custom_id": name, "method": "POST", "url": url, "body": body} | more
    kept = {key: value for key, value in line.items() if value is not None}
    return json.dumps(kept).encode() + b"\n"


def lines(n: int) -> bytes:
    """Return n sound lines, named `r0`, `r1`, …"""
    return b"".join(a_line(f"r{k}") for k in range(n))


class KeptFiles:
    """The files of a service, in memory; `piece` bytes are read at a time."""

    def __init__(self, piece: int = 2**20) -> None:
        self.bytes: dict[str, bytes] = {}
        self.facts: dict[str, NewFile] = {}
        self.puts: list[str] = []
        self._piece = piece
        self.before_put: Callable[[], None] = lambda: None
        self.before_piece: Callable[[], None] = lambda: None

    def add(self, data: bytes, id: str = INPUT, tenant: str = "") -> None:
        """Keep an uploaded file."""
        self.bytes[id] = data
        self.facts[id] = NewFile(id, tenant, "in.jsonl", "batch")

    async def purpose(self, id: str, tenant: str | None) -> str | None:
        found = self.facts.get(id)
        if found is None or tenant not in (None, found.tenant):
            return None
        return found.purpose

    async def is_kept(self, id: str, tenant: str) -> bool:
        return await self.purpose(id, tenant) is not None

    async def read(self, id: str) -> AsyncIterator[bytes]:
        if id not in self.bytes:
            raise NotFound(f"there is no file {id}")
        data = self.bytes[id]
        for start in range(0, len(data), self._piece):
            self.before_piece()
            await asyncio.sleep(0)
            yield data[start : start + self._piece]

    async def put(self, new: NewFile, chunks: AsyncIterable[bytes]) -> None:
        self.before_put()
        self.bytes[new.id] = b"".join([chunk async for chunk in chunks])
        self.facts[new.id] = new
        self.puts.append(new.id)

    def lines(self, id: str | None) -> list[Any]:
        """Return the lines of a file; none if there is no file."""
        data = b"" if id is None else self.bytes[id]
        return [json.loads(line) for line in data.splitlines()]


class Home:
    """A store that nobody serves."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock

    def look(self) -> None:
        return

    async def wait_change(self) -> None:
        await self._clock.sleep(1.0)


class Bench:
    """Batches, and all that they stand on."""

    def __init__(self, limits: InputLimits = InputLimits(), piece: int = 2**20) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock)
        self.files = KeptFiles(piece)
        self.limits = limits
        self.batches = self.another()

    def another(self) -> Batches:
        """Return the batches as another process sees them."""
        book = BatchBook(self.store.documents())
        home = Home(self.store, self.clock)
        tools = CourseTools(home, book, self.files, self.clock, "openai", self.limits)
        return Batches(tools)

    async def begin(self, data: bytes, window: str = "24h", **more: Any) -> Batch:
        """Upload an input, and make a batch of it."""
        self.files.add(data)
        new = NewBatch(INPUT, CHAT, window, **more)
        return await self.batches.create(new, "")

    async def see(self, batch: Batch) -> Batch:
        """Return the batch as it is now."""
        return await self.batches.get(batch.id, None)

    async def until(self, batch: Batch, *states: BatchState) -> Batch:
        """Wait until the batch is in one of these states."""
        while True:
            now = await self.see(batch)
            if now.state in states:
                return now
            await self.clock.sleep(0.1)

    async def ended(self, batch: Batch) -> Batch:
        """Wait for the batch's end."""
        return await self.until(batch, *BATCH_ENDS)

    async def job_of(self, batch: Batch) -> Job:
        """Return the job of a batch at work."""
        job = await self.store.job((await self.see(batch)).job or 0)
        assert job is not None
        return job

    async def lease(self, batch: Batch, n: int = 10_000) -> tuple[int, list[Leased]]:
        """Take lines of a batch to answer them."""
        job = await self.job_of(batch)
        epoch = await owner(self.store, lease_s=1e9)
        return epoch, await self.store.lease(epoch, [(job.number, n)])

    async def answer(
        self,
        batch: Batch,
        how: Callable[[Leased], Finished] = succeeded,
        n: int = 10_000,
    ) -> Sequence[Leased]:
        """Answer lines of a batch that is in progress."""
        await self.until(batch, BatchState.IN_PROGRESS)
        epoch, leases = await self.lease(batch, n)
        await self.store.record(epoch, [how(lease) for lease in leases])
        return leases

    async def conclude(self) -> None:
        """Do what a serving process does beside its calls, for ever."""
        while True:
            while await self.store.sweep():
                pass
            for job in await self.store.finalizing(["openai"]):
                await self.store.conclude(job.number)
            await self.clock.sleep(0.5)


@asynccontextmanager
async def kept(bench: Bench) -> AsyncIterator[Bench]:
    """Keep the batches of a bench, and conclude their jobs, while the block lasts."""
    concluding = asyncio.create_task(bench.conclude())
    try:
        async with bench.batches.kept():
            yield bench
    finally:
        concluding.cancel()
