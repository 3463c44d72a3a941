"""Statements about kept answers and their leases, one function each."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Executable,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from headrace.stores.schema import cache_entries as entries
from headrace.stores.schema import cache_leases as leases
from headrace.stores.statement import LIMIT, Flavour, Statement

_NOTHING: Final[ColumnElement[int]] = literal_column("0", BigInteger)


def _bind(column: Column[Any]) -> Any:
    return bindparam(column.name, type_=column.type)


def _seconds(name: str) -> Any:
    return bindparam(name, type_=Double)


def _lasts(until: ColumnElement[Any], d: Flavour) -> ColumnElement[bool]:
    return or_(until.is_(None), until > d.now)


def _insert(table: Table, d: Flavour) -> Any:
    """The `INSERT` that knows what to do about a row that is there."""
    return sqlite.insert(table) if d.name == "sqlite" else postgresql.insert(table)


@Statement
def get(d: Flavour) -> Executable:
    """The value of a key that is kept, and whether it is fresh."""
    return select(entries.c.value, _lasts(entries.c.fresh_until, d)).where(
        entries.c.key == _bind(entries.c.key), _lasts(entries.c.kept_until, d)
    )


@Statement
def fresh(d: Flavour) -> Executable:
    """Is a fresh value there?"""
    return select(entries.c.size).where(
        entries.c.key == _bind(entries.c.key), _lasts(entries.c.fresh_until, d)
    )


@Statement
def put(d: Flavour) -> Executable:
    """Keep a value in place of an older one."""
    made = _insert(entries, d).values(
        key=_bind(entries.c.key),
        value=_bind(entries.c.value),
        size=_bind(entries.c.size),
        created_at=d.now,
        fresh_until=d.now + _seconds("fresh_s"),
        kept_until=d.now + _seconds("kept_s"),
        used_at=d.now,
        hits=_NOTHING,
    )
    new = made.excluded
    names = ("value", "size", "created_at", "fresh_until", "kept_until", "used_at")
    return made.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=[entries.c.key], set_={name: new[name] for name in names}
    )


@Statement
def touch(d: Flavour) -> Executable:
    """Note that a value was given again, so many times."""
    more = bindparam("more", type_=BigInteger)
    return (
        update(entries)
        .values(used_at=d.now, hits=entries.c.hits + more)
        .where(entries.c.key == _bind(entries.c.key))
    )


@Statement
def claim(d: Flavour) -> Executable:
    """Take a lease that is free, over, or one's own; hand back the key if it was."""
    made = _insert(leases, d).values(
        key=_bind(leases.c.key),
        holder=_bind(leases.c.holder),
        expires_at=d.now + _seconds("lease_s"),
    )
    new = made.excluded
    return made.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=[leases.c.key],
        set_={"holder": new.holder, "expires_at": new.expires_at},
        where=or_(leases.c.holder == new.holder, leases.c.expires_at <= d.now),
    ).returning(leases.c.key)


@Statement
def free(_: Flavour) -> Executable:
    """End the lease of a key, whoever holds it."""
    return delete(leases).where(leases.c.key == _bind(leases.c.key))


@Statement
def release(_: Flavour) -> Executable:
    """End the lease of a key if this holder has it."""
    return delete(leases).where(
        leases.c.key == _bind(leases.c.key), leases.c.holder == _bind(leases.c.holder)
    )


@Statement
def size(_: Flavour) -> Executable:
    """How many values are kept, their bytes, and how often they were given again."""
    return select(
        func.count(),
        func.coalesce(func.sum(entries.c.size), _NOTHING),
        func.coalesce(func.sum(entries.c.hits), _NOTHING),
    ).select_from(entries)


@Statement
def ended(d: Flavour) -> Executable:
    """Forget the values whose time is over."""
    return delete(entries).where(entries.c.kept_until <= d.now)


@Statement
def ended_leases(d: Flavour) -> Executable:
    """Forget the leases whose time is over."""
    return delete(leases).where(leases.c.expires_at <= d.now)


@Statement
def least_used(_: Flavour) -> Executable:
    """The values that were used longest ago: when, and their size."""
    return (
        select(entries.c.used_at, entries.c.size)
        .order_by(entries.c.used_at)
        .limit(LIMIT)
    )


@Statement
def drop_unused(_: Flavour) -> Executable:
    """Forget the values that were not used after a time."""
    return delete(entries).where(entries.c.used_at <= _bind(entries.c.used_at))


@Statement
def clear(_: Flavour) -> Executable:
    """Forget every value."""
    return delete(entries)
