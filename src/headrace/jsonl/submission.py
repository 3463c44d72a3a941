"""Batches on their way into a store, which finds the names that stand twice."""

from __future__ import annotations

from headrace.errors import DuplicateItem
from headrace.jsonl.badline import double
from headrace.jsonl.validation import Batch, Validation
from headrace.ports import Intake


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
    total = 0
    for batch in validation.batches():
        total += await _add(intake, job, batch, total, validation)
    return total


async def _add(
    intake: Intake, job: int, batch: Batch, first_seq: int, validation: Validation
) -> int:
    """Store a batch but its doubles; return how many items.

    All or none are stored at once, so a batch is cut where a double is found. What
    follows it is halved, so that a batch of doubles takes n log n items, not n².
    """
    if not batch.items:
        return 0
    try:
        await intake.add(job, batch.items)
        return len(batch.items)
    except DuplicateItem as error:
        at = min(max(error.seq - first_seq, 0), len(batch.items) - 1)
    name = validation.source.name
    custom_id = batch.items[at].custom_id
    validation.bad.add(double(name, batch.numbers[at], custom_id))
    middle = (at + 1 + len(batch.items)) // 2
    added = 0
    for part in (slice(0, at), slice(at + 1, middle), slice(middle, None)):
        piece = Batch(batch.items[part], batch.numbers[part])
        added += await _add(intake, job, piece, first_seq + added, validation)
    return added
