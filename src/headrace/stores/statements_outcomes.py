"""Statements about outcomes and attempts, one function each."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Executable,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
)

from headrace.stores.schema import attempts, items, results
from headrace.stores.statement import (
    FIRST,
    JOB,
    LAST,
    LIMIT,
    Flavour,
    Statement,
    insert_each,
)
from headrace.stores.statements_items import WITHOUT_SUCCESS

insert_results = insert_each(
    results,
    "item",
    "job",
    "number",
    "ended_at",
    "status",
    "code",
    "message",
    "packed",
    "body",
    "detail",
    "cost_nano",
)
insert_attempts = insert_each(
    attempts,
    "item",
    "generation",
    "attempt",
    "code",
    "message",
    "ended_at",
    "status",
    "endpoint",
    "in_flight_s",
)


@Statement
def insert_unrun(d: Flavour) -> Executable:
    """Add the results of items that the store itself ends, numbered in order."""
    place = cast(func.row_number().over(order_by=items.c.id), BigInteger)
    source = select(
        items.c.id,
        items.c.job,
        bindparam("base", type_=BigInteger) + place,
        d.now,
        bindparam("code", type_=Text),
        bindparam("message", type_=Text),
        literal_column("0"),
    ).where(d.among(items.c.id, "keys"))
    columns = ["item", "job", "number", "ended_at", "code", "message", "packed"]
    return insert(results).from_select(columns, source)


@Statement
def archive_results(_: Flavour) -> Executable:
    """Copy the outcomes of a job's items without success to the attempts."""
    source = (
        select(
            results.c.item,
            items.c.generation,
            items.c.attempts,
            func.coalesce(results.c.code, ""),
            func.coalesce(results.c.message, ""),
            results.c.ended_at,
            results.c.status,
            literal_column("''"),
            literal_column("0.0"),
        )
        .join(items, items.c.id == results.c.item)
        .where(results.c.job == JOB, WITHOUT_SUCCESS)
    )
    return insert(attempts).from_select(insert_attempts.fields, source)


@Statement
def delete_archived(_: Flavour) -> Executable:
    """Forget the outcomes of a job's items without success."""
    its = select(items.c.id).where(items.c.job == JOB, WITHOUT_SUCCESS)
    return delete(results).where(results.c.job == JOB, results.c.item.in_(its))


@Statement
def page(_: Flavour) -> Executable:
    """Outcomes of a job after a number, in order."""
    return (
        select(
            results.c.number,
            items.c.seq,
            items.c.custom_id,
            items.c.state,
            items.c.attempts,
            items.c.queued_at,
            results.c.ended_at,
            results.c.status,
            results.c.code,
            results.c.message,
            results.c.packed,
            results.c.body,
            results.c.detail,
            results.c.cost_nano,
        )
        .join(items, items.c.id == results.c.item)
        .where(
            results.c.job == JOB,
            results.c.number > bindparam("after", type_=BigInteger),
        )
        .order_by(results.c.number)
        .limit(LIMIT)
    )


@Statement
def attempts_of(_: Flavour) -> Executable:
    """The failed tries and former outcomes of an item, oldest first."""
    return (
        select(
            attempts.c.generation,
            attempts.c.attempt,
            attempts.c.code,
            attempts.c.message,
            attempts.c.ended_at,
            attempts.c.status,
            attempts.c.endpoint,
            attempts.c.in_flight_s,
        )
        .where(attempts.c.item == bindparam("key", type_=BigInteger))
        .order_by(attempts.c.id)
    )


@Statement
def delete_attempts(_: Flavour) -> Executable:
    """Forget the attempts of a range of items."""
    return delete(attempts).where(attempts.c.item.between(FIRST, LAST))


@Statement
def delete_results(_: Flavour) -> Executable:
    """Forget the results of a range of items."""
    return delete(results).where(results.c.item.between(FIRST, LAST))
