"""A batch as a value, and the steps it may take.

```
validating ──► failed                                   its input is refused
     │ └─────────────────────────► expired              no time was left to check it
     └──► in_progress ──► finalizing ──► completed
               │ └───────────────► expired              its window ended
validating, in_progress ──► cancelling ──► cancelled
```
Every time is set once. What a step needs is given to it; nothing is read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from headrace.errors import WrongState
from headrace.jobs import Counts, Job

KIND = "batch"
"""Of its document."""

MAX_PROBLEMS = 100
"""What is kept of what is wrong with an input; a document stays small."""

MAX_WINDOW_S = 366 * 86_400
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WINDOW = re.compile(r"([0-9]{1,9})([smhd])")


class BatchState(StrEnum):
    """Where a batch is, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


BATCH_ENDS = frozenset(
    {
        BatchState.FAILED,
        BatchState.COMPLETED,
        BatchState.EXPIRED,
        BatchState.CANCELLED,
    }
)


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with an input, as one entry of `errors.data`."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None
    """From 1; None = the whole file."""


class RequestCounts(msgspec.Struct, frozen=True):
    """How many lines there are; those that expired or were cancelled are in no other."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchUsage(msgspec.Struct, frozen=True):
    """The tokens of all answers, as the providers counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input tokens."""
    reasoning_tokens: int = 0
    """Of the output tokens."""


class Results(msgspec.Struct, frozen=True):
    """What is left of a batch whose job is over."""

    counts: RequestCounts
    output_file_id: str | None = None
    error_file_id: str | None = None
    usage: BatchUsage = BatchUsage()


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch as its document keeps it; times are UTC seconds.

    Args:
        id: `batch_…`.
        tenant: whose it is.
        input_file_id: where its lines are.
        endpoint: the path that each line must name.
        completion_window: such as `24h`.
        created_at: when it was asked for.
        expires_at: when its window ends.
    """

    id: str
    tenant: str
    input_file_id: str
    endpoint: str
    completion_window: str
    created_at: int
    expires_at: int
    state: BatchState = BatchState.VALIDATING
    metadata: Mapping[str, str] | None = None
    priority: str = "normal"
    key_id: str = ""
    """Of the key that it was asked for with; its limits and budget bind the lines."""
    output_expires_after_s: int | None = None
    retry_of: str | None = None
    """The batch whose failed lines these are."""
    takes: int = 0
    """How often somebody began to validate it; tells one of them from the next."""
    job: int | None = None
    """`Job.number`, once every line is checked and stored."""
    job_id: str | None = None
    model: str | None = None
    errors: tuple[Problem, ...] = ()
    counts: RequestCounts = RequestCounts()
    usage: BatchUsage | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    pause_reason: str = ""
    """Why its job is paused; looked up each time, never kept."""

    @property
    def has_ended(self) -> bool:
        """Will it never change again?"""
        return self.state in BATCH_ENDS

    @property
    def ended_at(self) -> int | None:
        """When it ended; None if it has not."""
        return (
            self.completed_at or self.failed_at or self.expired_at or self.cancelled_at
        )

    @property
    def job_name(self) -> str:
        """The name of the job that the present validation fills."""
        return f"{self.id}/{self.takes}"


def window_s(window: str) -> int:
    """Return the seconds of a completion window such as `24h`, `15m` or `7d`.

    Raises:
        ValueError: it has another form, or is not between a second and a year.
    """
    found = _WINDOW.fullmatch(window)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= MAX_WINDOW_S:
        raise ValueError(
            f"given {window[:40]!r}, allowed is a number with s, m, h or d, such as 24h, "
            "between 1s and 366d"
        )
    return seconds


def taken(batch: Batch) -> Batch:
    """Return the batch as somebody begins to validate it, anew or for the first time."""
    _expect(batch, BatchState.VALIDATING)
    return replace(batch, takes=batch.takes + 1)


def checked(batch: Batch, job: Job, model: str | None) -> Batch:
    """Return the batch all of whose lines are good, and stored in `job`."""
    _expect(batch, BatchState.VALIDATING)
    total = RequestCounts(job.counts.total)
    return replace(batch, job=job.number, job_id=job.id, model=model, counts=total)


def begun(batch: Batch, now: float) -> Batch:
    """Return the batch whose lines may run."""
    _expect(batch, BatchState.VALIDATING)
    return replace(batch, state=BatchState.IN_PROGRESS, in_progress_at=int(now))


def failed(batch: Batch, problems: tuple[Problem, ...], now: float) -> Batch:
    """Return the batch whose input is refused; nothing of it ran."""
    _expect(batch, BatchState.VALIDATING)
    return replace(
        batch,
        state=BatchState.FAILED,
        errors=problems[:MAX_PROBLEMS],
        counts=RequestCounts(),
        failed_at=int(now),
    )


def finalizing(batch: Batch, now: float) -> Batch:
    """Return the batch whose lines have all ended, and whose files are to be written."""
    _expect(batch, BatchState.IN_PROGRESS)
    return replace(batch, state=BatchState.FINALIZING, finalizing_at=int(now))


def completed(batch: Batch, results: Results, now: float) -> Batch:
    """Return the batch whose files can be downloaded."""
    _expect(batch, BatchState.FINALIZING)
    done = _with_results(batch, results)
    return replace(done, state=BatchState.COMPLETED, completed_at=int(now))


def expired(batch: Batch, results: Results, now: float) -> Batch:
    """Return the batch whose window ended before its work did."""
    _expect(batch, BatchState.VALIDATING, BatchState.IN_PROGRESS)
    done = _with_results(batch, results)
    return replace(done, state=BatchState.EXPIRED, expired_at=int(now))


def cancelling(batch: Batch, now: float) -> Batch:
    """Return the batch that is to end early.

    One that is being cancelled stays as it is, and so does one that is `finalizing`:
    all its lines have ended, there is nothing left to cancel.

    Raises:
        WrongState: it has ended.
    """
    if batch.state in (BatchState.CANCELLING, BatchState.FINALIZING):
        return batch
    if batch.has_ended:
        raise WrongState(
            f"Cannot cancel a batch with status '{batch.state}'.",
            expected="a batch that has not ended",
            found=batch.state,
        )
    return replace(batch, state=BatchState.CANCELLING, cancelling_at=int(now))


def cancelled(batch: Batch, results: Results, now: float) -> Batch:
    """Return the batch that ended early; what had an answer, keeps it."""
    _expect(batch, BatchState.CANCELLING)
    done = _with_results(batch, results)
    return replace(done, state=BatchState.CANCELLED, cancelled_at=int(now))


def counts_of(counts: Counts) -> RequestCounts:
    """Return a job's counts as those of a batch."""
    return RequestCounts(counts.total, counts.succeeded, counts.failed + counts.skipped)


def _with_results(batch: Batch, results: Results) -> Batch:
    return replace(
        batch,
        counts=results.counts,
        output_file_id=results.output_file_id,
        error_file_id=results.error_file_id,
        usage=results.usage,
    )


def _expect(batch: Batch, *states: BatchState) -> None:
    if batch.state not in states:
        expected = " or ".join(states)
        raise WrongState(
            f"batch {batch.id} is {batch.state}; this needs it to be {expected}",
            expected=expected,
            found=batch.state,
        )
