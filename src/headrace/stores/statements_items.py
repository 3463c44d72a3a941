"""Statements about items and their payloads, one function each."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Executable,
    SmallInteger,
    Text,
    bindparam,
    delete,
    exists,
    func,
    null,
    select,
    update,
)

from headrace.model import ItemState
from headrace.stores.itemstates import CODE_OF
from headrace.stores.schema import (
    QUEUED,
    RUNNING,
    items,
    owners,
    payloads,
)
from headrace.stores.statement import (
    FIRST,
    JOB,
    LAST,
    LIMIT,
    OF,
    Flavour,
    RowStatement,
    Statement,
    given_rows,
    insert_each,
)

insert_items = insert_each(
    items, "id", "job", "seq", "custom_id", "queued_at", "tokens"
)
insert_payloads = insert_each(payloads, "item", "packed", "body")


def _owned_by(owner: ColumnElement[int]) -> ColumnElement[bool]:
    """Is the item this owner's? Written so that no plan walks all that the owner holds."""
    return items.c.owner.is_not_distinct_from(owner)


def _each_held(fields: tuple[str, ...], **fixed: Any) -> RowStatement:
    """Return the statement that takes items from an owner, row by row.

    The fields set the columns of their names; `id`, `owner` and `generation` say which
    item, and fence the write.
    """
    keys = {f"its_{n}": items.c[n].type for n in ("id", "owner", "generation")}
    types = {**{f"new_{n}": items.c[n].type for n in fields}, **keys}

    def build(d: Flavour) -> Executable:
        given = given_rows(d, types)
        values = {name: given[f"new_{name}"] for name in fields}
        return (
            update(items)
            .values({**values, **fixed, "owner": null()})
            .where(
                items.c.id == given["its_id"],
                items.c.state == RUNNING,
                _owned_by(given["its_owner"]),
                items.c.generation == given["its_generation"],
            )
        )

    return RowStatement(types, build)


finish_items = _each_held(("state", "attempts"))
"""Give held items their end state."""

release_items = _each_held(("attempts", "queued_at"), state=QUEUED)
"""Queue held items again."""


@Statement
def candidates(_: Flavour) -> Executable:
    """Queued items of a job with their payloads, first come first, locked."""
    return (
        select(
            items.c.id,
            items.c.seq,
            items.c.custom_id,
            items.c.generation,
            items.c.attempts,
            items.c.queued_at,
            payloads.c.packed,
            payloads.c.body,
        )
        .join(payloads, payloads.c.item == items.c.id)
        .where(items.c.job == JOB, items.c.state == QUEUED)
        .with_hint(items, "INDEXED BY items_queued", "sqlite")
        .order_by(items.c.seq)
        .limit(LIMIT)
        .with_for_update(of=items, skip_locked=True)
    )


@Statement
def take(d: Flavour) -> Executable:
    """Give queued items to an owner."""
    return (
        update(items)
        .values(state=RUNNING, owner=OF)
        .where(d.among(items.c.id, "keys"), items.c.state == QUEUED)
    )


@Statement
def held(d: Flavour) -> Executable:
    """Which of these items an owner holds, and in which generation."""
    return (
        select(items.c.id, items.c.generation)
        .with_hint(items, "NOT INDEXED", "sqlite")
        .where(
            d.among(items.c.id, "keys"),
            items.c.state == RUNNING,
            _owned_by(OF),
        )
    )


@Statement
def jobs_of_owner(_: Flavour) -> Executable:
    """The jobs in which an owner holds items."""
    of = items.c.owner == OF
    return select(items.c.job).where(of, items.c.state == RUNNING).distinct()


@Statement
def requeue_owner(d: Flavour) -> Executable:
    """Queue again whatever an owner holds."""
    of = items.c.owner == OF
    values = {"state": QUEUED, "owner": null(), "queued_at": d.now}
    return update(items).values(values).where(of, items.c.state == RUNNING)


def _orphaned(d: Flavour) -> ColumnElement[bool]:
    """Does the item run under no living owner?"""
    alive = exists().where(owners.c.epoch == items.c.owner, owners.c.expires_at > d.now)
    return (items.c.state == RUNNING) & ~alive


@Statement
def jobs_of_orphans(d: Flavour) -> Executable:
    """The jobs that have items whose owner is dead."""
    return (
        select(items.c.job)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
        .where(_orphaned(d))
        .distinct()
    )


@Statement
def orphans(d: Flavour) -> Executable:
    """Items whose owner is dead, and how often they were rescued before."""
    return (
        select(items.c.id, items.c.job, items.c.rescues)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
        .where(_orphaned(d), d.among(items.c.job, "numbers"))
        .order_by(items.c.id)
        .limit(LIMIT)
    )


@Statement
def running(_: Flavour) -> Executable:
    """The running items of a job."""
    return (
        select(items.c.id)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
        .where(items.c.job == JOB, items.c.state == RUNNING)
    )


@Statement
def requeue_orphans(d: Flavour) -> Executable:
    """Queue again items whose owner died."""
    return (
        update(items)
        .values(
            state=QUEUED,
            owner=null(),
            rescues=items.c.rescues + 1,
            queued_at=d.now,
        )
        .where(d.among(items.c.id, "keys"), items.c.state == RUNNING)
    )


@Statement
def runs_under_living(d: Flavour) -> Executable:
    """An item of a job that runs under a living owner, if there is one."""
    return (
        select(items.c.id)
        .with_hint(items, "INDEXED BY items_running", "sqlite")
        .join(owners, owners.c.epoch == items.c.owner)
        .where(
            items.c.job == JOB, items.c.state == RUNNING, owners.c.expires_at > d.now
        )
        .limit(1)
    )


@Statement
def endable(_: Flavour) -> Executable:
    """Queued items of a job, locked, to be ended without a run."""
    return (
        select(items.c.id)
        .with_hint(items, "INDEXED BY items_queued", "sqlite")
        .where(items.c.job == JOB, items.c.state == QUEUED)
        .order_by(items.c.seq)
        .limit(LIMIT)
        .with_for_update(skip_locked=True)
    )


@Statement
def end_items(d: Flavour) -> Executable:
    """Give items that the store itself ends their end state."""
    return (
        update(items)
        .values(state=bindparam("new_state", type_=SmallInteger), owner=null())
        .where(
            d.among(items.c.id, "keys"),
            items.c.state.in_([QUEUED, RUNNING]),
        )
    )


SUCCEEDED: Final = CODE_OF[ItemState.SUCCEEDED]
WITHOUT_SUCCESS: Final = items.c.state > SUCCEEDED  # the ends after it in STATES


@Statement
def requeue_unsuccessful(d: Flavour) -> Executable:
    """Queue a job's items without success in their next generation."""
    return (
        update(items)
        .values(
            state=QUEUED,
            generation=items.c.generation + 1,
            attempts=0,
            rescues=0,
            queued_at=d.now,
        )
        .where(items.c.job == JOB, WITHOUT_SUCCESS)
    )


@Statement
def known_ids(d: Flavour) -> Executable:
    """Which of these custom ids a job has already."""
    return select(items.c.custom_id).where(
        items.c.job == JOB, d.among(items.c.custom_id, "custom_ids", Text)
    )


@Statement
def last_of_chunk(_: Flavour) -> Executable:
    """The key that ends a job's first chunk of items, if it has any."""
    keys = (
        select(items.c.id)
        .where(items.c.id.between(FIRST, LAST))
        .order_by(items.c.id)
        .limit(LIMIT)
        .subquery()
    )
    return select(func.max(keys.c.id))


@Statement
def delete_payloads(_: Flavour) -> Executable:
    """Forget the payloads of a range of items."""
    return delete(payloads).where(payloads.c.item.between(FIRST, LAST))


@Statement
def delete_items(_: Flavour) -> Executable:
    """Forget a range of items."""
    return delete(items).where(items.c.id.between(FIRST, LAST))
