"""An item's states as the stores keep them, and the ends that they give themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.errors import ErrorCode
from headrace.jobs import JobState
from headrace.model import Failure, ItemState, Outcome, Trace

SEQ_BITS: Final = 32
"""How many low bits of an item's key hold its position in the job."""

STATES: Final = (
    ItemState.QUEUED,
    ItemState.RUNNING,
    ItemState.SUCCEEDED,
    ItemState.FAILED,
    ItemState.CANCELLED,
    ItemState.EXPIRED,
    ItemState.SKIPPED,
)
"""An item's state is stored as its place in this list; only ever append."""

CODE_OF: Final = {state: code for code, state in enumerate(STATES)}

UNFINISHED: Final[Mapping[str, ItemState]] = {
    JobState.CANCELLED: ItemState.CANCELLED,
    JobState.EXPIRED: ItemState.EXPIRED,
    JobState.FAILED: ItemState.SKIPPED,
}
"""What a queued item of a cancelling job becomes, by the job's ending."""

UNRUN: Final = {
    ItemState.FAILED: (
        ErrorCode.POISONED,
        "Every process that ran this item died while it ran.",
    ),
    ItemState.CANCELLED: (
        ErrorCode.CANCELLED,
        "The job was cancelled before this item was answered.",
    ),
    ItemState.EXPIRED: (
        ErrorCode.EXPIRED,
        "This request could not be executed before the completion window expired.",
    ),
    ItemState.SKIPPED: (
        ErrorCode.SKIPPED,
        "Too many items of the job failed before this one was answered.",
    ),
}
"""Code and message of an item that the store itself ended."""


def item_key(job: int, seq: int) -> int:
    """Return the key under which item, payload and result are stored."""
    return (job << SEQ_BITS) | seq


def job_and_seq(key: int) -> tuple[int, int]:
    """Return what `item_key` was made of."""
    return key >> SEQ_BITS, key & ((1 << SEQ_BITS) - 1)


def unrun(
    custom_id: str, seq: int, state: ItemState, number: int, trace: Trace
) -> Outcome:
    """Return the outcome of an item that the store itself ended."""
    code, message = UNRUN[state]
    failure = Failure(code, message)
    return Outcome(custom_id, seq, state, failure=failure, trace=trace, number=number)
