"""How jobs come in and go out: each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import asdict, replace

from headrace.errors import DuplicateItem, NotFound
from headrace.jobs import Job, JobState, NewItem, NewJob
from headrace.stores import statements_items as of_items
from headrace.stores import statements_jobs as of_jobs
from headrace.stores import statements_outcomes as of_outcomes
from headrace.stores.custom_ids import check_ids, duplicate
from headrace.stores.itemstates import item_key
from headrace.stores.jobrow import (
    JobRow,
    expect,
    first_row,
    name_taken,
    removed,
    sealed,
    still_running,
)
from headrace.stores.packing import Packer
from headrace.stores.statement import Each, Packing, Query, Row, Steps

CHUNK_ITEMS: Final = 5_000
"""Items forgotten in one transaction: some 50 ms of the writer's time."""


def job_row(row: Row) -> JobRow:
    """Return the job's row from the columns of `statements_jobs`."""
    return JobRow(**dict(zip(JobRow.__struct_fields__, row, strict=False)))


def seen_job(row: Row) -> Job:
    """Return the job from its columns and the number of its running items."""
    return job_row(row).job(row[-1])


def lock_job(job: int) -> Steps[tuple[JobRow, float]]:
    """Lock a job; return its row and the time.

    Raises:
        NotFound: there is no such job.
    """
    rows = yield Query(of_jobs.lock, {"numbers": [job]})
    if not rows:
        raise NotFound(f"there is no job number {job}")
    return job_row(rows[0]), rows[0][-1]


def write_job(old: JobRow, new: JobRow) -> Steps[None]:
    """Write a locked job's row back, if it has changed."""
    if new is not old:
        given = {f"new_{name}": value for name, value in asdict(new).items()}
        given["old_number"], given["old_version"] = old.number, old.version
        yield Query(of_jobs.write, given)


def see_job(job: int) -> Steps[Job]:
    """Return the job as it is now."""
    rows = yield Query(of_jobs.by_numbers, {"numbers": [job]})
    return seen_job(rows[0])


def create(new: NewJob) -> Steps[tuple[Job, bool]]:
    """Add an empty job, or find the one with its idempotency key."""
    return (yield from _insert(new, first_row(new, 0, 0.0)))


def submit(new: NewJob, items: Sequence[NewItem]) -> Steps[tuple[Job, bool]]:
    """Add a job with all its items, ready to run, or find the one with its key."""
    check_ids(items, 0)
    row = replace(first_row(new, 0, 0.0), total=len(items))
    job, is_new = yield from _insert(new, sealed(row, 0.0))
    if is_new:
        yield from _insert_items(job.number, 0, items, job.created_at)
    return job, is_new


def _insert(new: NewJob, row: JobRow) -> Steps[tuple[Job, bool]]:
    """Add a job's first row, or find the one with its idempotency key."""
    given = asdict(row)
    given["deadline_s"] = new.deadline_s
    added = yield Query(of_jobs.insert_job, given)
    if added:
        number, created_at, deadline_at = added[0]
        times = {"created_at": created_at, "deadline_at": deadline_at}
        return replace(row, number=number, **times).job(0), True
    if new.idempotency_key is not None:
        rows = yield Query(of_jobs.by_key, {"idempotency_key": new.idempotency_key})
        if rows:
            return seen_job(rows[0]), False
    raise name_taken(new)


def add(job: int, items: Sequence[NewItem]) -> Steps[None]:
    """Append items to a validating job."""
    check_ids(items, 0)
    rows = yield Query(of_jobs.grow, {"job": job, "more": len(items)})
    if not rows:
        row, _ = yield from lock_job(job)
        expect(row, JobState.VALIDATING)
        raise AssertionError(f"job {job} is validating and cannot grow")
    start, now = rows[0]
    yield from _insert_items(job, start, items, now)


def _insert_items(
    job: int, start: int, items: Sequence[NewItem], now: float
) -> Steps[None]:
    """Add queued items and their payloads, `seq` from `start` on."""
    pack: Packer = yield Packing()
    key = item_key(job, start)
    yield Each(
        of_items.insert_items,
        [
            (key + n, job, start + n, new.custom_id, now, new.tokens)
            for n, new in enumerate(items)
        ],
    )
    yield Each(
        of_items.insert_payloads,
        [(key + n, *pack.pack(new.payload)) for n, new in enumerate(items)],
    )


def find_duplicate(job: int, items: Sequence[NewItem]) -> Steps[DuplicateItem | None]:
    """Return which of these a job has already, after it has refused them."""
    rows = yield Query(of_jobs.by_numbers, {"numbers": [job]})
    start = job_row(rows[0]).total if rows else 0
    check_ids(items, start)
    given = {"job": job, "custom_ids": [new.custom_id for new in items]}
    known = {row[0] for row in (yield Query(of_items.known_ids, given))}
    for n, new in enumerate(items):
        if new.custom_id in known:
            return duplicate(new.custom_id, start + n)
    return None


def seal(job: int) -> Steps[Job]:
    """Let a validating job run."""
    row, now = yield from lock_job(job)
    yield from write_job(row, sealed(row, now))
    return (yield from see_job(job))


def mark_removed(job: int) -> Steps[None]:
    """Hide a job, and free its name, before its rows go in chunks."""
    rows = yield Query(of_jobs.lock, {"numbers": [job]})
    if not rows:
        return
    row, now = job_row(rows[0]), rows[0][-1]
    if (yield Query(of_items.runs_under_living, {"job": job})):
        raise still_running(row)
    yield from write_job(row, removed(row, now))


def remove_chunk(job: int) -> Steps[int]:
    """Forget some items of a removed job, or the job itself; 0 = nothing was left."""
    first, last = item_key(job, 0), item_key(job + 1, 0) - 1
    span = {"first": first, "last": last, "limit": CHUNK_ITEMS}
    rows = yield Query(of_items.last_of_chunk, span)
    if rows[0][0] is None:
        yield Query(of_jobs.delete_job, {"job": job})
        return 0
    span = {"first": first, "last": rows[0][0]}
    for statement in (
        of_outcomes.delete_attempts,
        of_outcomes.delete_results,
        of_items.delete_payloads,
        of_items.delete_items,
    ):
        yield Query(statement, span)
    return CHUNK_ITEMS
