"""How people and deadlines change a job: each function is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from headrace.errors import NotFound
from headrace.jobs import JOB_ENDS, Job, JobState
from headrace.model import ItemState
from headrace.stores import jobrow
from headrace.stores import statements_items as of_items
from headrace.stores import statements_jobs as of_jobs
from headrace.stores import statements_outcomes as of_outcomes
from headrace.stores.itemstates import CODE_OF, UNFINISHED, UNRUN
from headrace.stores.jobrow import (
    REMOVED,
    JobRow,
    expect,
    settled,
)
from headrace.stores.statement import Query, Steps
from headrace.stores.steps_intake import (
    job_row,
    lock_job,
    remove_chunk,
    see_job,
    write_job,
)

SWEEP_ITEMS: Final = 10_000
"""Items ended in one transaction: some 100 ms of the writer's time."""


def change(decide: Callable[[JobRow, float], JobRow], job: int) -> Steps[Job]:
    """Let a rule of `jobrow` decide what becomes of a job."""
    row, now = yield from lock_job(job)
    yield from write_job(row, decide(row, now))
    return (yield from see_job(job))


def pause(job: int, reason: str) -> Steps[Job]:
    """Start no more of a job's items."""

    def decide(row: JobRow, now: float) -> JobRow:
        return jobrow.paused(row, reason, now)

    return (yield from change(decide, job))


def set_priority(job: int, priority: int) -> Steps[None]:
    """Change how urgent a job is."""
    given = {"job": job, "new_priority": priority}
    if not (yield Query(of_jobs.set_priority, given)):
        raise NotFound(f"there is no job number {job}")


def retry(job: int) -> Steps[int]:
    """Queue again all items of an ended job but its successes."""
    row, now = yield from lock_job(job)
    expect(row, JobState.FINALIZING, *sorted(JOB_ENDS))
    again = row.ended_items - row.succeeded
    if not again:
        return 0
    yield Query(of_outcomes.archive_results, {"job": job})
    yield Query(of_outcomes.delete_archived, {"job": job})
    yield Query(of_items.requeue_unsuccessful, {"job": job})
    yield from write_job(row, jobrow.retried(row, now))
    return again


def sweepable() -> Steps[int | None]:
    """Return the number of a job that needs a sweep."""
    rows = yield Query(of_jobs.sweepable)
    return rows[0][0] if rows else None


def sweep(job: int) -> Steps[int]:
    """Move one job on by one bounded step; return how many rows changed."""
    rows = yield Query(of_jobs.lock_any, {"numbers": [job]})
    if not rows:
        return 0
    row, now = job_row(rows[0]), rows[0][-1]
    if row.ending == REMOVED:
        return 1 + (yield from remove_chunk(job))
    new = jobrow.expired(row, now)
    if new.state == JobState.CANCELLING:
        return (yield from _end_queued(row, new, now))
    new = jobrow.finished(new, now)
    yield from write_job(row, new)
    return new.version - row.version


def _end_queued(row: JobRow, cancelling: JobRow, now: float) -> Steps[int]:
    given = {"job": row.number, "limit": SWEEP_ITEMS}
    keys = [found[0] for found in (yield Query(of_items.endable, given))]
    state = UNFINISHED[cancelling.ending]
    yield from end_items(keys, state, cancelling.version)
    new = settled(cancelling, {state: len(keys)}, now)
    yield from write_job(row, new)
    return new.version - row.version


def end_items(keys: list[int], state: ItemState, base: int) -> Steps[None]:
    """End items without a run, numbered in order from `base` + 1."""
    if keys:
        code, message = UNRUN[state]
        given: Mapping[str, object] = {
            "keys": keys,
            "base": base,
            "code": str(code),
            "message": message,
            "new_state": CODE_OF[state],
        }
        yield Query(of_outcomes.insert_unrun, given)
        yield Query(of_items.end_items, given)
