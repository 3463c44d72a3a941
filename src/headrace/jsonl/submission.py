"""Batches on their way into a store, which finds the names that stand twice."""

from __future__ import annotations

from collections.abc import Callable

from headrace.errors import DuplicateItem
from headrace.jsonl.badline import double
from headrace.jsonl.validation import Batch, Validation
from headrace.ports import Intake

OnDouble = Callable[[int, str], None]
"""Told of the line and the name of each that stands on an earlier line already."""


async def submit(intake: Intake, job: int, validation: Validation) -> int:
    """Store all items of an input; lines whose name is taken are added to its bad ones.

    So the first line of each name stands in the store, whatever follows.

    Args:
        intake: the store.
        job: `Job.number` of an empty job in state `validating`.
        validation: gives the items.

    Returns:
        How many items were stored.
    """
    file = validation.source.name

    def on_double(line: int, custom_id: str) -> None:
        validation.bad.add(double(file, line, custom_id))

    total = 0
    for batch in validation.batches():
        total += await add_first_of_each(intake, job, batch, total, on_double)
    return total


async def add_first_of_each(
    intake: Intake, job: int, batch: Batch, first_seq: int, on_double: OnDouble
) -> int:
    """Store a batch but its doubles; return how many items.

    All or none are stored at once, so a batch is cut where a double is found. What
    follows it is halved, so that a batch of doubles takes n log n items, not n².

    Args:
        intake: the store.
        job: `Job.number` of a job in state `validating`.
        batch: the items; may be none.
        first_seq: how many the job has.
        on_double: told of each that is left out.
    """
    if not batch.items:
        return 0
    try:
        await intake.add(job, batch.items)
        return len(batch.items)
    except DuplicateItem as error:
        at = min(max(error.seq - first_seq, 0), len(batch.items) - 1)
    on_double(batch.numbers[at], batch.items[at].custom_id)
    middle = (at + 1 + len(batch.items)) // 2
    added = 0
    for part in (slice(0, at), slice(at + 1, middle), slice(middle, None)):
        piece = Batch(batch.items[part], batch.numbers[part])
        seq = first_seq + added
        added += await add_first_of_each(intake, job, piece, seq, on_double)
    return added
