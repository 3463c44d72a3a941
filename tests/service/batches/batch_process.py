"""A process that sees one batch to its end, to be killed from outside.

Prints the batch's states as they come; started again in the same folder it goes on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import headrace
from batch_building import CHAT, INPUT, a_line
from headrace import FunctionRoute, Limits
from headrace.clock import SystemClock
from headrace.files.directory import open_directory
from headrace.service.openai.batch import BatchState
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.batchcourse import CourseTools
from headrace.service.openai.batchfiles import NewFile
from headrace.service.openai.batchkeeper import Batches, NewBatch
from headrace.service.openai.filestore import FileStore


async def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a line, as a model would; takes a while."""
    await asyncio.sleep(0.02)
    if request["body"]["messages"] == ["fail"]:
        raise ValueError("no")
    return {"path": request["path"]}


async def input_of(count: int) -> AsyncIterator[bytes]:
    """Give an input; each tenth line fails."""
    for n in range(count):
        messages = ["fail"] if n % 10 == 0 else []
        yield a_line(f"r{n}", body={"model": "m", "messages": messages})


async def main(folder: Path, count: int, *, cancels: bool) -> None:
    limits = Limits(in_flight=500)
    retry = headrace.Retry(max_attempts=1)
    route = FunctionRoute("openai", answer, limits=limits, retry=retry)
    clock = SystemClock()
    async with headrace.open(folder / "h.db", [route]) as home:
        documents = home.store.documents()
        files = await open_directory(folder / "files")
        kept = FileStore(documents, files, clock)
        book = BatchBook(documents)
        batches = Batches(CourseTools(home, book, kept, clock, "openai"))
        async with batches.kept():
            found, _ = await batches.list(None, None, 1)
            if not found:
                await kept.put(NewFile(INPUT, "", "in", "batch"), input_of(count))
                found = [await batches.create(NewBatch(INPUT, CHAT, "24h"), "")]
            await watch(batches, found[0].id, cancels=cancels)


async def watch(batches: Batches, id: str, *, cancels: bool) -> None:
    """Print the states; cancel half way, if asked to."""
    seen: BatchState | None = None
    while True:
        batch = await batches.get(id, None)
        if batch.state is not seen:
            seen = batch.state
            print(seen, flush=True)
        if batch.has_ended:
            return
        at_work = seen is BatchState.IN_PROGRESS
        if cancels and at_work and batch.counts.completed > batch.counts.total / 3:
            await batches.cancel(id, None)
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    is_cancelled = "cancel" in arguments[2:]
    asyncio.run(main(Path(arguments[0]), int(arguments[1]), cancels=is_cancelled))
