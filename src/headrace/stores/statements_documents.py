"""Statements about small records, one function each."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Executable,
    Text,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from headrace.stores.schema import documents
from headrace.stores.statement import LIMIT, Flavour, Statement

_c = documents.c
_ONE: Final = literal_column("1", BigInteger)
_IS_IT = (_c.kind == bindparam("kind", type_=Text)) & (
    _c.id == bindparam("id", type_=Text)
)
_ALL: Final = (
    _c.kind,
    _c.id,
    _c.tenant,
    _c.number,
    _c.version,
    _c.body,
    _c.expires_at,
)


def _bind(column: Column[Any]) -> Any:
    return bindparam(column.name, type_=column.type)


@Statement
def insert(d: Flavour) -> Executable:
    """Keep a new document; no row comes back if its id is taken."""
    make = sqlite.insert if d.name == "sqlite" else postgresql.insert
    given = {c: _bind(c) for c in (_c.kind, _c.id, _c.tenant, _c.body, _c.expires_at)}
    made = make(documents).values({**given, _c.version: _ONE})
    at = [_c.kind, _c.id]
    return made.on_conflict_do_nothing(index_elements=at).returning(_c.number)


@Statement
def one(_: Flavour) -> Executable:
    """A document."""
    return select(*_ALL).where(_IS_IT)


@Statement
def replace(_: Flavour) -> Executable:
    """Change a document of a certain version; no row comes back if it is another's.

    The number tells it from one of the same id that was made after it was deleted.
    """
    return (
        update(documents)
        .where(
            _c.number == bindparam("of_number", type_=BigInteger),
            _c.version == bindparam("of_version", type_=BigInteger),
        )
        .values(
            body=bindparam("new_body", type_=_c.body.type),
            expires_at=bindparam("new_expiry", type_=Double),
            version=_c.version + 1,
        )
        .returning(*_ALL)
    )


@Statement
def remove(_: Flavour) -> Executable:
    """Forget a document; no row comes back if there was none."""
    return delete(documents).where(_IS_IT).returning(_c.number)


def _page(*, oldest_first: bool) -> Executable:
    tenant = bindparam("of_tenant", type_=Text)
    after = bindparam("after", type_=BigInteger)
    return (
        select(*_ALL)
        .where(
            _c.kind == bindparam("kind", type_=Text),
            or_(bindparam("of_all", type_=BigInteger) == 1, _c.tenant == tenant),
            _c.number > after if oldest_first else _c.number < after,
        )
        .order_by(_c.number if oldest_first else _c.number.desc())
        .limit(LIMIT)
    )


@Statement
def newest(_: Flavour) -> Executable:
    """A page of documents, newest first."""
    return _page(oldest_first=False)


@Statement
def oldest(_: Flavour) -> Executable:
    """A page of documents, oldest first."""
    return _page(oldest_first=True)


@Statement
def expired(_: Flavour) -> Executable:
    """Documents whose time is over, the first first."""
    return (
        select(*_ALL)
        .where(
            _c.kind == bindparam("kind", type_=Text),
            _c.expires_at <= bindparam("until", type_=Double),
        )
        .order_by(_c.expires_at, _c.number)
        .limit(LIMIT)
    )
