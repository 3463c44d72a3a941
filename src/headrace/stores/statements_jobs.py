"""Statements about jobs and owners, one function each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Executable,
    Select,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from headrace.jobs import JobState
from headrace.stores.jobrow import JOB_COLUMNS, OPEN, REMOVED, RUNS
from headrace.stores.schema import QUEUED, RUNNING, items, jobs, owners, version
from headrace.stores.statement import Flavour, Statement

ENDS: Final[ColumnElement[Any]] = (
    jobs.c.succeeded
    + jobs.c.failed
    + jobs.c.cancelled
    + jobs.c.expired
    + jobs.c.skipped
)

KEPT: Final = jobs.c.ending != REMOVED


def is_in(states: Iterable[JobState]) -> ColumnElement[bool]:
    """Is the job in one of these states?"""
    return or_(*(jobs.c.state == state.value for state in states))


_MAY_RUN = is_in([JobState.QUEUED, JobState.IN_PROGRESS])
_columns = [jobs.c[name] for name in JOB_COLUMNS]


def _bind(column: Column[Any], name: str | None = None) -> Any:
    return bindparam(name or column.name, type_=column.type)


def _running(job: ColumnElement[Any]) -> Any:
    """How many items of a job run, counted over the small index of running items."""
    count = (
        select(func.count())
        .select_from(items)
        .where(items.c.job == job, items.c.state == RUNNING)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
    )
    return count.scalar_subquery()


def _seen() -> Select[Any]:
    """Every column of a job, and how many of its items run."""
    return select(*_columns, _running(jobs.c.number))


def _has_queued() -> ColumnElement[bool]:
    return exists().where(items.c.job == jobs.c.number, items.c.state == QUEUED)


@Statement
def insert_job(d: Flavour) -> Executable:
    """Add a job, unless its id, name or idempotency key is taken.

    Hands back its number and its times.
    """
    back = (jobs.c.number, jobs.c.created_at, jobs.c.deadline_at)
    values = {name: _bind(jobs.c[name]) for name in JOB_COLUMNS if name != "number"}
    values["created_at"] = d.now
    values["deadline_at"] = d.now + bindparam("deadline_s", type_=Double)
    if d.name == "sqlite":
        light = sqlite.insert(jobs).values(values).on_conflict_do_nothing()
        return light.returning(*back)
    heavy = postgresql.insert(jobs).values(values).on_conflict_do_nothing()
    return heavy.returning(*back)


@Statement
def by_key(_: Flavour) -> Executable:
    """The job submitted with an idempotency key."""
    return _seen().where(jobs.c.idempotency_key == _bind(jobs.c.idempotency_key))


@Statement
def by_ref(_: Flavour) -> Executable:
    """The job of an id or a name; an id goes before a name."""
    ref = bindparam("ref", type_=Text)
    by_id = select(jobs.c.number).where(jobs.c.id == ref)
    by_name = select(jobs.c.number).where(jobs.c.name == ref)
    numbers = union_all(by_id, by_name).subquery()
    return (
        _seen()
        .where(jobs.c.number.in_(select(numbers.c.number)), KEPT)
        .order_by((jobs.c.id == ref).desc())
        .limit(1)
    )


@Statement
def kept_by_number(_: Flavour) -> Executable:
    """The job of a number, unless it is being removed."""
    return _seen().where(jobs.c.number == bindparam("job", type_=BigInteger), KEPT)


@Statement
def by_numbers(d: Flavour) -> Executable:
    """The jobs of these numbers."""
    return _seen().where(d.among(jobs.c.number, "numbers"))


@Statement
def finalizing(d: Flavour) -> Executable:
    """Jobs of these routes whose items have all ended, oldest first."""
    ours = d.among(jobs.c.route, "routes", Text)
    waiting = is_in([JobState.FINALIZING])
    return _seen().where(ours, waiting).order_by(jobs.c.number)


@Statement
def newest(_: Flavour) -> Executable:
    """A page of jobs, newest first."""
    before = jobs.c.number < bindparam("before", type_=BigInteger)
    limit = bindparam("limit", type_=BigInteger)
    return _seen().where(before, KEPT).order_by(jobs.c.number.desc()).limit(limit)


def _lock(d: Flavour) -> Select[Any]:
    wanted = d.among(jobs.c.number, "numbers")
    locked = select(*_columns, d.now).where(wanted).order_by(jobs.c.number)
    return locked.with_for_update(of=jobs)


@Statement
def lock(d: Flavour) -> Executable:
    """Jobs as they are, locked in order of their numbers, and the time."""
    return _lock(d).where(KEPT)


@Statement
def lock_any(d: Flavour) -> Executable:
    """The same, with jobs that are being removed."""
    return _lock(d)


@Statement
def write(_: Flavour) -> Executable:
    """Write a locked job's row back, if it is still as it was read."""
    keys = ("number", "version")
    values = {
        n: _bind(jobs.c[n], f"new_{n}") for n in JOB_COLUMNS if n not in ("number",)
    }
    same = [jobs.c[n] == _bind(jobs.c[n], f"old_{n}") for n in keys]
    return update(jobs).values(values).where(*same)


@Statement
def grow(d: Flavour) -> Executable:
    """Count more items into a validating job; hand back how many it had, and the time."""
    more = bindparam("more", type_=BigInteger)
    return (
        update(jobs)
        .values(total=jobs.c.total + more)
        .where(
            jobs.c.number == bindparam("job", type_=BigInteger),
            jobs.c.state == JobState.VALIDATING.value,
        )
        .returning(jobs.c.total - more, d.now)
    )


@Statement
def set_rendered(_: Flavour) -> Executable:
    """Remember what is certain of a job's output files."""
    return (
        update(jobs)
        .values(rendered=_bind(jobs.c.rendered, "new_rendered"))
        .where(jobs.c.number == bindparam("job", type_=BigInteger))
    )


@Statement
def set_priority(_: Flavour) -> Executable:
    """Change how urgent a job is."""
    return (
        update(jobs)
        .values(priority=_bind(jobs.c.priority, "new_priority"))
        .where(jobs.c.number == bindparam("job", type_=BigInteger), KEPT)
        .returning(jobs.c.number)
    )


@Statement
def startable(d: Flavour) -> Executable:
    """Which of these jobs may run, and their states."""
    return select(jobs.c.number, jobs.c.state).where(
        d.among(jobs.c.number, "numbers"), _MAY_RUN
    )


@Statement
def flows(d: Flavour) -> Executable:
    """Jobs of these routes that may run and have queued items, most urgent first."""
    return (
        select(
            jobs.c.number,
            jobs.c.id,
            jobs.c.route,
            jobs.c.priority,
            jobs.c.tenant,
            jobs.c.deadline_at - d.now,
            jobs.c.total - ENDS,
            jobs.c.metadata,
        )
        .where(
            d.among(jobs.c.route, "routes", Text),
            _MAY_RUN,
            _has_queued(),
        )
        .order_by(jobs.c.priority.desc(), jobs.c.number)
    )


def _due(d: Flavour) -> ColumnElement[bool]:
    late = jobs.c.deadline_at <= d.now
    return is_in(OPEN) & late


def _finished() -> ColumnElement[bool]:
    return is_in(RUNS) & (jobs.c.total == ENDS)


def _endable() -> ColumnElement[bool]:
    return (jobs.c.state == JobState.CANCELLING.value) & _has_queued()


@Statement
def sweepable(d: Flavour) -> Executable:
    """The oldest job that needs a sweep: late, with items to end, done, or removed."""
    needs = or_(_due(d), _endable(), _finished(), ~KEPT)
    return select(jobs.c.number).where(needs).order_by(jobs.c.number).limit(1)


@Statement
def delete_job(_: Flavour) -> Executable:
    """Forget the row of a job whose items are gone."""
    return delete(jobs).where(jobs.c.number == bindparam("job", type_=BigInteger))


@Statement
def insert_owner(d: Flavour) -> Executable:
    """Add an owner; hand back its epoch."""
    lease_s = _bind(owners.c.lease_s)
    return (
        insert(owners)
        .values(
            host=_bind(owners.c.host),
            pid=_bind(owners.c.pid, "pid"),
            lease_s=lease_s,
            expires_at=d.now + lease_s,
        )
        .returning(owners.c.epoch)
    )


@Statement
def renew_owner(d: Flavour) -> Executable:
    """Extend a lease that has not run out; hand back the epoch if it had not."""
    return (
        update(owners)
        .values(expires_at=d.now + bindparam("for_s", type_=Double))
        .where(
            owners.c.epoch == _bind(owners.c.epoch, "of"), owners.c.expires_at > d.now
        )
        .returning(owners.c.epoch)
    )


@Statement
def live_owner(d: Flavour) -> Executable:
    """The owner, if its lease has not run out, and the time."""
    return select(owners.c.epoch, d.now).where(
        owners.c.epoch == _bind(owners.c.epoch, "of"), owners.c.expires_at > d.now
    )


@Statement
def owners_all(_: Flavour) -> Executable:
    """All owners, oldest first."""
    return select(owners.c.epoch).order_by(owners.c.epoch)


@Statement
def expire_owners(d: Flavour) -> Executable:
    """End the leases of these owners."""
    return (
        update(owners).where(d.among(owners.c.epoch, "numbers")).values(expires_at=0.0)
    )


@Statement
def dead_owners(d: Flavour) -> Executable:
    """The owners whose lease has run out; none of them can come back."""
    return select(owners.c.epoch).where(owners.c.expires_at <= d.now)


@Statement
def delete_owners(d: Flavour) -> Executable:
    """Forget the owners whose lease has run out."""
    return delete(owners).where(owners.c.expires_at <= d.now)


@Statement
def end_owner(_: Flavour) -> Executable:
    """Stop being an owner."""
    return delete(owners).where(owners.c.epoch == _bind(owners.c.epoch, "of"))


@Statement
def held_jobs(_: Flavour) -> Executable:
    """The jobs, and their states, in which an owner holds items."""
    return (
        select(jobs.c.number, jobs.c.state)
        .join(items, items.c.job == jobs.c.number)
        .where(
            items.c.owner == _bind(items.c.owner, "of"),
            items.c.state == RUNNING,
        )
        .distinct()
    )


@Statement
def schema_version(_: Flavour) -> Executable:
    """The migration that the database stands at."""
    return select(version.c.version_num)
