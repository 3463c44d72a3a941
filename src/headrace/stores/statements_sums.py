"""Statements that add up over items and jobs, one function each."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    Text,
    bindparam,
    func,
    select,
    true,
)

from headrace.jobs import JobState
from headrace.stores.jobrow import OPEN
from headrace.stores.schema import RUNNING, attempts, items, jobs
from headrace.stores.statement import FIRST, LAST, LIMIT, Flavour, Statement
from headrace.stores.statements_jobs import ENDS, KEPT, is_in

_WITH_WORK: Final = is_in([*OPEN, JobState.CANCELLING])


@Statement
def troubles(_: Flavour) -> Executable:
    """Failed tries of a range of items by endpoint and code, most frequent first.

    A former outcome that a retry put among them names no endpoint, and is no try.
    """
    count = func.count().label("count")
    tried = attempts.c.item.between(FIRST, LAST) & (attempts.c.endpoint != "")
    kinds = (
        select(
            attempts.c.endpoint,
            attempts.c.code,
            count,
            func.max(attempts.c.id).label("last"),
        )
        .where(tried)
        .group_by(attempts.c.endpoint, attempts.c.code)
        .order_by(count.desc(), attempts.c.endpoint, attempts.c.code)
        .limit(LIMIT)
        .subquery()
    )
    return (
        select(kinds.c.endpoint, kinds.c.code, kinds.c["count"], attempts.c.message)
        .join(attempts, attempts.c.id == kinds.c.last)
        .order_by(kinds.c["count"].desc(), kinds.c.endpoint, kinds.c.code)
    )


@Statement
def spent(_: Flavour) -> Executable:
    """What all jobs of a tenant have spent."""
    columns = (jobs.c.input_tokens, jobs.c.output_tokens, jobs.c.cost_nano)
    sums = [func.coalesce(func.sum(column), 0) for column in columns]
    its = jobs.c.tenant == bindparam("tenant", type_=Text)
    return select(*sums).where(its, KEPT)


def _queued(among: ColumnElement[bool]) -> Select[Any]:
    """Count what has not ended, less what runs: few rows, in a small index."""
    which = among & _WITH_WORK & KEPT
    left = select(func.coalesce(func.sum(jobs.c.total - ENDS), 0)).where(which)
    running = (
        select(func.count())
        .select_from(items)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
        .join(jobs, jobs.c.number == items.c.job)
        .where(items.c.state == RUNNING, which)
    )
    return select(left.scalar_subquery() - running.scalar_subquery())


@Statement
def queued(_: Flavour) -> Executable:
    """How many items of all jobs are queued."""
    return _queued(true())


@Statement
def queued_of(d: Flavour) -> Executable:
    """How many items of the jobs of these routes are queued."""
    return _queued(d.among(jobs.c.route, "routes", Text))
