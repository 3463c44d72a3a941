"""A job's row as a value, and the rules by which it changes.

All three stores read the row under a lock, let these functions decide what it becomes,
and write it back; no state of a job is decided anywhere else.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from headrace.errors import WrongState
from headrace.jobs import (
    JOB_ENDS,
    KEY,
    Counts,
    FailurePolicy,
    Finished,
    Job,
    JobState,
    NewJob,
)
from headrace.model import ItemState, Priority
from headrace.stores.spending import MOST_IN_ALL, Sums, usd_of

REMOVED: Final = "removed"
"""The ending of a job that is being forgotten: nobody sees it any more."""

OPEN: Final = (
    JobState.VALIDATING,
    JobState.QUEUED,
    JobState.IN_PROGRESS,
    JobState.PAUSED,
)
"""The states in which a job may still be cancelled, or expire."""

RUNS: Final = (
    JobState.QUEUED,
    JobState.IN_PROGRESS,
    JobState.PAUSED,
    JobState.CANCELLING,
)
"""The states from which a job becomes finalizing when its last item has ended."""

_ID_CHARS: Final = 20
_ID_BYTES: Final = 13
"""That give so many characters of five bits."""
_texts = msgspec.json.Decoder(dict[str, str])
_whole = msgspec.json.Decoder(dict[str, int])


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of `jobs`, in their order."""

    number: int
    id: str
    name: str | None
    idempotency_key: str | None
    route: str
    tenant: str
    priority: int
    state: str
    ending: str = JobState.COMPLETED
    """Where a cancelling or finalizing job goes; or `REMOVED`."""
    threshold: float | None
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    skipped: int = 0
    version: int = 0
    created_at: float
    deadline_at: float | None
    started_at: float | None = None
    ended_at: float | None = None
    metadata: str
    pause_reason: str = ""
    error: str = ""
    rendered: str = "{}"
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0

    @property
    def ended_items(self) -> int:
        return (
            self.succeeded + self.failed + self.cancelled + self.expired + self.skipped
        )

    def counts(self, running: int) -> Counts:
        """Return the counts, given how many items run."""
        return Counts(
            total=self.total,
            queued=self.total - self.ended_items - running,
            running=running,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            expired=self.expired,
            skipped=self.skipped,
        )

    def job(self, running: int) -> Job:
        """Return the job as everyone else sees it."""
        return Job(
            id=self.id,
            number=self.number,
            route=self.route,
            state=JobState(self.state),
            counts=self.counts(running),
            version=self.version,
            created_at=self.created_at,
            name=self.name,
            priority=Priority(self.priority),
            tenant=self.tenant,
            idempotency_key=self.idempotency_key,
            on_failure=FailurePolicy(self.threshold),
            metadata=_texts.decode(self.metadata),
            deadline_at=self.deadline_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            ending=JobState(self.ending),
            pause_reason=self.pause_reason,
            error=self.error,
            rendered=_whole.decode(self.rendered),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=usd_of(self.cost_nano),
        )


JOB_COLUMNS: Final = JobRow.__struct_fields__


def new_job_id() -> str:
    """Return a public id that nobody can guess."""
    chance = secrets.token_bytes(_ID_BYTES)  # once: each call hands the interpreter on
    return "job_" + b32encode(chance).decode()[:_ID_CHARS].lower()


def first_row(new: NewJob, number: int, now: float) -> JobRow:
    """Return the row of a job that has just been submitted."""
    return JobRow(
        number=number,
        id=new.id or new_job_id(),
        name=new.name,
        idempotency_key=new.idempotency_key,
        route=new.route,
        tenant=new.tenant,
        priority=int(new.priority),
        state=JobState.VALIDATING,
        threshold=new.on_failure.threshold,
        created_at=now,
        deadline_at=None if new.deadline_s is None else now + new.deadline_s,
        metadata=msgspec.json.encode(new.metadata).decode(),
    )


def key_in(metadata: str) -> str:
    """Return the service's key that a job's metadata names; "" = none."""
    return "" if metadata == "{}" else _texts.decode(metadata).get(KEY, "")


def encode_rendered(rendered: Mapping[str, int]) -> str:
    """Return what is remembered of the output files, as the row keeps it."""
    return msgspec.json.encode(rendered).decode()


def moved(row: JobRow, state: JobState, now: float, ending: str = "") -> JobRow:
    """Return the row in another state; the version grows by one."""
    return replace(
        row,
        state=state,
        ending=ending or row.ending,
        version=row.version + 1,
        pause_reason="" if row.state == JobState.PAUSED else row.pause_reason,
        ended_at=now if state in JOB_ENDS else row.ended_at,
    )


def settled(row: JobRow, ends: Mapping[ItemState, int], now: float) -> JobRow:
    """Return the row after so many more of its items have ended.

    The version grows by one for each; then the failure policy is asked, and a job
    whose items have all ended becomes `finalizing`.
    """
    row = replace(
        row,
        succeeded=row.succeeded + ends.get(ItemState.SUCCEEDED, 0),
        failed=row.failed + ends.get(ItemState.FAILED, 0),
        cancelled=row.cancelled + ends.get(ItemState.CANCELLED, 0),
        expired=row.expired + ends.get(ItemState.EXPIRED, 0),
        skipped=row.skipped + ends.get(ItemState.SKIPPED, 0),
        version=row.version + sum(ends.values()),
    )
    policy = FailurePolicy(row.threshold)
    if row.state in OPEN and policy.ends_job(row.counts(0)):
        error = f"{row.failed} of {row.total} items failed: more than the job allows"
        row = replace(
            moved(row, JobState.CANCELLING, now, JobState.FAILED), error=error
        )
    return finished(row, now)


def charged(row: JobRow, sums: Sums) -> JobRow:
    """Return the row after so much more was spent; no retry takes it back."""
    return replace(
        row,
        input_tokens=min(row.input_tokens + sums.input_tokens, MOST_IN_ALL),
        output_tokens=min(row.output_tokens + sums.output_tokens, MOST_IN_ALL),
        cost_nano=min(row.cost_nano + sums.cost_nano, MOST_IN_ALL),
    )


def number_outcomes(
    finished: Sequence[Finished],
    held: Mapping[int, int],
    rows: Mapping[int, JobRow],
) -> tuple[list[tuple[Finished, int]], dict[int, Sums]]:
    """Choose the outcomes whose items are held, and number them from their job's row.

    Args:
        finished: in the order wanted; the first of an item counts.
        held: key and generation of each item that is still held.
        rows: the locked jobs by number.

    Returns:
        What is to be written with its number, and what it adds up to, by job.
    """
    sums: defaultdict[int, Sums] = defaultdict(Sums)
    written: list[tuple[Finished, int]] = []
    last = {number: row.version for number, row in rows.items()}
    seen: set[int] = set()
    for done in finished:
        lease = done.lease
        is_held = held.get(lease.item) == lease.generation and lease.job in last
        if lease.item in seen or not is_held:
            continue
        seen.add(lease.item)
        last[lease.job] += 1
        sums[lease.job].add(done.outcome)
        written.append((done, last[lease.job]))
    return written, sums


def sealed(row: JobRow, now: float) -> JobRow:
    """Return the row of a validating job that may now run."""
    expect(row, JobState.VALIDATING)
    state = JobState.QUEUED if row.total else JobState.FINALIZING
    return moved(row, state, now)


def cancelled(row: JobRow, now: float) -> JobRow:
    """Return the row of a job that is to end; one that is ending anyway stays."""
    if row.state in (JobState.CANCELLING, JobState.FINALIZING):
        return row
    expect(row, *OPEN)
    return moved(row, JobState.CANCELLING, now, JobState.CANCELLED)


def paused(row: JobRow, reason: str, now: float) -> JobRow:
    """Return the row of a job none of whose items may start."""
    expect(row, JobState.QUEUED, JobState.IN_PROGRESS)
    return replace(moved(row, JobState.PAUSED, now), pause_reason=reason)


def resumed(row: JobRow, now: float) -> JobRow:
    """Return the row of a paused job that may go on."""
    expect(row, JobState.PAUSED)
    state = JobState.QUEUED if row.started_at is None else JobState.IN_PROGRESS
    return moved(row, state, now)


def retried(row: JobRow, now: float) -> JobRow:
    """Return the row of an ended job, all but whose successes are queued again.

    A deadline that has passed is dropped: the items could not run under it. Nothing is
    certain of the output files any more: they hold outcomes that are past now.
    """
    in_time = row.deadline_at is None or row.deadline_at > now
    return replace(
        moved(row, JobState.QUEUED, now),
        ending=JobState.COMPLETED,
        failed=0,
        cancelled=0,
        expired=0,
        skipped=0,
        started_at=None,
        ended_at=None,
        error="",
        rendered="{}",
        deadline_at=row.deadline_at if in_time else None,
    )


def concluded(row: JobRow, now: float) -> JobRow:
    """Return the row of a finalizing job at its end; an ended one stays."""
    if row.state in JOB_ENDS:
        return row
    expect(row, JobState.FINALIZING)
    return moved(row, JobState(row.ending), now)


def started(row: JobRow, now: float) -> JobRow:
    """Return the row of a queued job whose first item has been leased."""
    return replace(moved(row, JobState.IN_PROGRESS, now), started_at=now)


def expired(row: JobRow, now: float) -> JobRow:
    """Return the row of a job whose deadline has passed as ending; else the same."""
    if row.state in OPEN and row.deadline_at is not None and row.deadline_at <= now:
        return moved(row, JobState.CANCELLING, now, JobState.EXPIRED)
    return row


def finished(row: JobRow, now: float) -> JobRow:
    """Return the row of a job whose items have all ended as finalizing; else the same."""
    if row.state in RUNS and row.ended_items == row.total:
        return moved(row, JobState.FINALIZING, now)
    return row


def removed(row: JobRow, now: float) -> JobRow:
    """Return the row of a job that nobody sees any more, and whose names are free."""
    gone = moved(row, JobState.CANCELLED, now, REMOVED)
    return replace(gone, name=None, idempotency_key=None)


def name_taken(new: NewJob) -> WrongState:
    """Return the error about a name that another job bears."""
    return WrongState(
        f"a job named {new.name!r} is there already; remove it or choose another name",
        expected="a name that no job bears",
        found=str(new.name),
    )


def still_running(row: JobRow) -> WrongState:
    """Return the error about a job that cannot be removed yet."""
    return WrongState(
        f"job {row.id} is being run by a live process; cancel it first",
        expected="no item running",
        found="items running",
    )


def expect(row: JobRow, *states: JobState) -> None:
    """Make sure that the job is in one of these states.

    Raises:
        WrongState: it is in another.
    """
    if row.state not in states:
        expected = " or ".join(states)
        raise WrongState(
            f"job {row.id} is {row.state}; this needs it to be {expected}",
            expected=expected,
            found=row.state,
        )
