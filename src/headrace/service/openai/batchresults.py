"""The files that a batch leaves behind, written from what the store knows.

They can be written again and again: ids and bytes are the same each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from headrace.jobs import Job
from headrace.jsonl.output import line_of
from headrace.model import Outcome
from headrace.ports import Jobs
from headrace.service.openai.batch import Batch, BatchUsage, Results, counts_of
from headrace.service.openai.batchfiles import BatchFiles, NewFile, file_id_of
from headrace.service.veil import Veil

_FIRST_PAGE = 16
_MAX_PAGE = 500
_PAGE_BYTES = 2**21


class _InputDetails(msgspec.Struct):
    cached_tokens: int = 0


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens_details: _InputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class _Details:
    """Adds up what answers say of their tokens beyond the two sums."""

    def __init__(self) -> None:
        self.cached = 0
        self.reasoning = 0

    def add(self, body: object) -> None:
        """Count an answer, if it says anything."""
        if not isinstance(body, bytes) or b"_tokens_details" not in body:
            return
        try:
            usage = _decode(body).usage
        except msgspec.MsgspecError:  # such as a number where an object should be
            return
        if usage is None:
            return
        in_ = usage.prompt_tokens_details or usage.input_tokens_details
        out = usage.completion_tokens_details or usage.output_tokens_details
        self.cached += in_.cached_tokens if in_ else 0
        self.reasoning += out.reasoning_tokens if out else 0


async def write_results(
    store: Jobs, files: BatchFiles, batch: Batch, job: Job, veil: Veil
) -> Results:
    """Write the output and the error file of a batch whose job has ended.

    Each exists only if it has a line. The error file holds what a tenant may see.
    """
    counts, details = job.counts, _Details()
    output_id = errors_id = None
    if counts.succeeded:
        output_id = file_id_of(batch.id, "output")
        good = _good_lines(store, job, details)
        await files.put(_file(batch, output_id, "output"), good)
    if counts.ended > counts.succeeded:
        errors_id = file_id_of(batch.id, "errors")
        bad = _bad_lines(store, job, veil)
        await files.put(_file(batch, errors_id, "errors"), bad)
    usage = BatchUsage(
        job.input_tokens, job.output_tokens, details.cached, details.reasoning
    )
    return Results(counts_of(counts), output_id, errors_id, usage)


async def pages_of(store: Jobs, job: int) -> AsyncIterator[list[Outcome]]:
    """Give all outcomes of an ended job, about 2 MiB at a time."""
    number, limit = 0, _FIRST_PAGE
    while page := await store.outcomes(job, number, limit):
        yield page
        number = page[-1].number
        each = sum(_size(o) for o in page) // len(page) + 1
        limit = max(1, min(_MAX_PAGE, _PAGE_BYTES // each))


async def _good_lines(store: Jobs, job: Job, details: _Details) -> AsyncIterator[bytes]:
    async for page in pages_of(store, job.number):
        good = [outcome for outcome in page if outcome.ok]
        for outcome in good:
            details.add(outcome.value)
        if good:
            yield b"".join(line_of(job.id, outcome) for outcome in good)


async def _bad_lines(store: Jobs, job: Job, veil: Veil) -> AsyncIterator[bytes]:
    async for page in pages_of(store, job.number):
        bad = [veil.outcome(outcome) for outcome in page if not outcome.ok]
        if bad:
            yield b"".join(line_of(job.id, outcome) for outcome in bad)


def _size(outcome: Outcome) -> int:
    return len(outcome.value) if isinstance(outcome.value, bytes) else 0


def _file(batch: Batch, id: str, what: str) -> NewFile:
    name = f"{batch.id}_{what}.jsonl"
    after_s = batch.output_expires_after_s
    return NewFile(id, batch.tenant, name, "batch_output", after_s)
