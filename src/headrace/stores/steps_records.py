"""How outcomes are kept, and read again: each function is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.jobs import AttemptRecord, Finished, Job, Recorded
from headrace.model import Outcome
from headrace.stores import statements_items as of_items
from headrace.stores import statements_jobs as of_jobs
from headrace.stores import statements_outcomes as of_outcomes
from headrace.stores.itemstates import CODE_OF, item_key, job_and_seq
from headrace.stores.jobrow import charged, encode_rendered, number_outcomes, settled
from headrace.stores.packing import Packer, outcome_of, result_values, text
from headrace.stores.statement import Each, Packing, Query, Steps
from headrace.stores.steps_intake import job_row, seen_job, write_job

Tries = Sequence[tuple[int, AttemptRecord]]


class Group(msgspec.Struct, frozen=True):
    """What is to be recorded in one transaction."""

    epoch: int
    finished: Sequence[Finished]
    tries: Tries = ()
    rendered: Mapping[int, Mapping[str, int]] = {}

    def jobs(self) -> list[int]:
        """Return the numbers of the jobs that it touches, in order."""
        found = {done.lease.job for done in self.finished}
        found.update(job_and_seq(key)[0] for key, _ in self.tries)
        return sorted(found.union(self.rendered))

    def items(self) -> list[int]:
        """Return the keys of the items that it touches."""
        found = {done.lease.item for done in self.finished}
        return list(found.union(key for key, _ in self.tries))


def record(group: Group) -> Steps[Recorded]:
    """Write a group of outcomes."""
    numbers = group.jobs()
    locked = yield Query(of_jobs.lock, {"numbers": numbers})
    if not locked:
        return Recorded({}, {})
    now = locked[0][-1]
    rows = {row[0]: job_row(row) for row in locked}
    given = {"keys": group.items(), "of": group.epoch}
    held: dict[int, int] = dict((yield Query(of_items.held, given)))
    yield from _record_tries(group.tries, held)
    written, sums = number_outcomes(group.finished, held, rows)
    if written:
        pack: Packer = yield Packing()
        yield Each(
            of_outcomes.insert_results,
            [
                (d.lease.item, d.lease.job, n, now, *result_values(d, pack))
                for d, n in written
            ],
        )
        yield Each(
            of_items.finish_items,
            [_finish_values(group.epoch, d) for d, _ in written],
        )
    for number, row in rows.items():
        new = row
        if number in sums:
            new = settled(charged(row, sums[number]), sums[number].ends, now)
        if number in group.rendered:
            new = replace(new, rendered=encode_rendered(group.rendered[number]))
        yield from write_job(row, new)
    seen = yield Query(of_jobs.by_numbers, {"numbers": numbers})
    return Recorded(
        {d.lease.item: n for d, n in written}, {row[0]: seen_job(row) for row in seen}
    )


def _finish_values(epoch: int, done: Finished) -> tuple[Any, ...]:
    state = CODE_OF[done.outcome.state]
    lease = done.lease
    return state, done.outcome.trace.attempts, lease.item, epoch, lease.generation


def _record_tries(tries: Tries, held: Mapping[int, int]) -> Steps[None]:
    rows = [
        (
            key,
            t.generation,
            t.attempt,
            t.code,
            text(t.message),
            t.ended_at,
            t.status,
            text(t.endpoint),
            t.in_flight_s,
        )
        for key, t in tries
        if held.get(key) == t.generation
    ]
    if rows:
        yield Each(of_outcomes.insert_attempts, rows)


def mark_rendered(job: int, rendered: Mapping[str, int]) -> Steps[None]:
    """Remember what is certain of a job's output files."""
    given = {"job": job, "new_rendered": encode_rendered(rendered)}
    yield Query(of_jobs.set_rendered, given)


def find_job(ref: str | int) -> Steps[Job | None]:
    """Return the job with that id, name or number."""
    if isinstance(ref, int):
        rows = yield Query(of_jobs.kept_by_number, {"job": ref})
    else:
        rows = yield Query(of_jobs.by_ref, {"ref": ref})
    return seen_job(rows[0]) if rows else None


def finalizing(routes: Sequence[str]) -> Steps[list[Job]]:
    """Return the jobs of these routes that wait to be concluded."""
    rows = yield Query(of_jobs.finalizing, {"routes": list(routes)})
    return [seen_job(row) for row in rows]


def list_jobs(limit: int, before: int) -> Steps[list[Job]]:
    """Return a page of jobs, newest first."""
    rows = yield Query(of_jobs.newest, {"limit": limit, "before": before})
    return [seen_job(row) for row in rows]


def outcomes(job: int, after: int, limit: int) -> Steps[list[Outcome]]:
    """Return a page of outcomes in order of their numbers."""
    given = {"job": job, "after": after, "limit": limit}
    rows = yield Query(of_outcomes.page, given)
    pack: Packer = yield Packing()
    return [outcome_of(row, pack) for row in rows]


def attempts(job: int, seq: int) -> Steps[list[AttemptRecord]]:
    """Return the failed tries and former outcomes of one item, oldest first."""
    rows = yield Query(of_outcomes.attempts_of, {"key": item_key(job, seq)})
    return [AttemptRecord(seq, *row) for row in rows]
