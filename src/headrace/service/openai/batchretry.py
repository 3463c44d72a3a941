"""The lines of a batch that got no answer, as the input of another."""

from __future__ import annotations

from collections.abc import AsyncIterator

from headrace.errors import NotFound, WrongState
from headrace.jobs import Job
from headrace.jsonl.arriving import lines_of
from headrace.jsonl.reading import MAX_LINE_BYTES, Oversized
from headrace.ports import Jobs
from headrace.service.openai.batch import Batch
from headrace.service.openai.batchfiles import BatchFiles, NewFile, file_id_of
from headrace.service.openai.batchresults import pages_of

INPUT_KEPT_S = 30 * 86_400
"""Seconds for which an input is kept, as one that is uploaded."""


async def write_failed_lines(
    store: Jobs, files: BatchFiles, batch: Batch, new_id: str
) -> str:
    """Write the lines of an ended batch that have no answer to a new input file.

    Takes one bit of memory a line. For the same new batch it is the same file.

    Args:
        store: where the outcomes are.
        files: where the inputs are.
        batch: the one that has ended.
        new_id: of the batch that the lines are for.

    Returns:
        The file's id.

    Raises:
        WrongState: the batch has not ended, or every line has its answer.
        NotFound: its job or its input is not kept any more.
    """
    if not batch.has_ended or batch.job is None:
        raise _refused(batch, "an ended batch that ran")
    if batch.counts.completed == batch.counts.total:
        raise _refused(batch, "a batch with lines that have no answer")
    job = await store.job(batch.job)
    if job is None or await files.purpose(batch.input_file_id, batch.tenant) is None:
        raise NotFound(f"the lines of batch '{batch.id}' are not kept any more")
    unanswered = await _unanswered(store, job)
    file_id = file_id_of(new_id, "input")
    name = f"{batch.id}_retry.jsonl"
    new = NewFile(file_id, batch.tenant, name, "batch", INPUT_KEPT_S)
    await files.put(new, _chosen(files, batch, unanswered))
    return file_id


async def _unanswered(store: Jobs, job: Job) -> bytearray:
    """Return a bit for each item, set if it has no answer."""
    bits = bytearray(job.counts.total // 8 + 1)
    async for page in pages_of(store, job.number):
        for outcome in page:
            if not outcome.ok:
                bits[outcome.index >> 3] |= 1 << (outcome.index & 7)
    return bits


async def _chosen(
    files: BatchFiles, batch: Batch, bits: bytearray
) -> AsyncIterator[bytes]:
    """Give the input's lines whose bit is set; an item is a line that is not blank."""
    seq = 0
    chunks = files.read(batch.input_file_id)
    async for block in lines_of(batch.input_file_id, chunks, MAX_LINE_BYTES):
        wanted: list[bytes] = []
        for line in block.lines:
            if isinstance(line, Oversized) or not line.strip():
                continue
            if bits[seq >> 3] >> (seq & 7) & 1:
                wanted.append(line + b"\n")
            seq += 1
        if wanted:
            yield b"".join(wanted)


def _refused(batch: Batch, expected: str) -> WrongState:
    return WrongState(
        f"Cannot retry a batch with status '{batch.state}': it must be {expected}.",
        expected=expected,
        found=batch.state,
    )
