"""Statements about files in pieces, one function each."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Executable,
    SmallInteger,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from headrace.stores.schema import file_bodies, file_pieces, files
from headrace.stores.statement import LIMIT, Flavour, Statement

_b, _p = file_bodies.c, file_pieces.c
_NO: Final[ColumnElement[int]] = literal_column("0", BigInteger)
_YES: Final[ColumnElement[int]] = literal_column("1", BigInteger)
_ID: Final = bindparam("file", type_=Text)
_BODY: Final = bindparam("of_body", type_=BigInteger)
_NUMBER: Final = bindparam("of_number", type_=BigInteger)


def _later(d: Flavour) -> Any:
    return d.now + bindparam("lease_s", type_=Double)


@Statement
def begin(d: Flavour) -> Executable:
    """Make a body that is being written."""
    values = {"id": _ID, "is_whole": _NO, "expires_at": _later(d)}
    return insert(file_bodies).values(values).returning(_b.number)


@Statement
def hold(d: Flavour) -> Executable:
    """Renew the lease of a body that is being written; no row comes back if it is over."""
    return (
        update(file_bodies)
        .where(_b.number == _BODY, _b.is_whole == _NO, _b.expires_at > d.now)
        .values(expires_at=_later(d))
        .returning(_b.number)
    )


@Statement
def add(_: Flavour) -> Executable:
    """Append a piece."""
    packed = bindparam("packed", type_=SmallInteger)
    data = bindparam("data", type_=_p.data.type)
    values = {"body": _BODY, "number": _NUMBER, "packed": packed, "data": data}
    return insert(file_pieces).values(values).inline()


@Statement
def complete(d: Flavour) -> Executable:
    """Say that a body is whole, and whose; no row comes back if its lease is over."""
    return (
        update(file_bodies)
        .where(_b.number == _BODY, _b.is_whole == _NO, _b.expires_at > d.now)
        .values(is_whole=_YES, expires_at=null())
        .returning(_b.id)
    )


@Statement
def name(d: Flavour) -> Executable:
    """Let a file name a body, in place of an earlier one; others wait for the commit."""
    make = sqlite.insert if d.name == "sqlite" else postgresql.insert
    size = bindparam("new_size", type_=BigInteger)
    made = make(files).values({"id": _ID, "body": _BODY, "size": size})
    new = made.excluded
    return made.on_conflict_do_update(
        index_elements=[files.c.id], set_={"body": new.body, "size": new.size}
    )


@Statement
def retire_others(d: Flavour) -> Executable:
    """Lease the earlier bodies of a file to those who read them."""
    return (
        update(file_bodies)
        .where(
            _b.id == _ID,
            _b.number != _BODY,
            _b.is_whole == _YES,
            _b.expires_at.is_(None),
        )
        .values(expires_at=_later(d))
    )


@Statement
def abandon(_: Flavour) -> Executable:
    """End the lease of a body that was not finished."""
    return (
        update(file_bodies)
        .where(_b.number == _BODY, _b.is_whole == _NO)
        .values(expires_at=_NO)
    )


@Statement
def find(_: Flavour) -> Executable:
    """The body and size of a file."""
    return select(files.c.body, files.c.size).where(files.c.id == _ID)


@Statement
def piece(_: Flavour) -> Executable:
    """A piece: is it packed, and its bytes."""
    return select(_p.packed, _p.data).where(_p.body == _BODY, _p.number == _NUMBER)


@Statement
def remove(_: Flavour) -> Executable:
    """Forget a file, but not its body; no row comes back if there was none."""
    return delete(files).where(files.c.id == _ID).returning(files.c.body)


@Statement
def renew(d: Flavour) -> Executable:
    """Renew the leases of bodies that are held."""
    return (
        update(file_bodies)
        .where(d.among(_b.number, "bodies"), _b.expires_at > d.now)
        .values(expires_at=_later(d))
    )


@Statement
def left(d: Flavour) -> Executable:
    """A body that nobody holds; one that another process removes now is passed over."""
    return (
        select(_b.number)
        .where(_b.expires_at <= d.now)
        .order_by(_b.expires_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


@Statement
def remove_pieces(_: Flavour) -> Executable:
    """Remove the first pieces that are left of a body; their numbers come back."""
    first = select(func.min(_p.number)).where(_p.body == _BODY).scalar_subquery()
    return (
        delete(file_pieces)
        .where(_p.body == _BODY, _p.number < first + LIMIT)
        .returning(_p.number)
    )


@Statement
def remove_body(_: Flavour) -> Executable:
    """Forget a body whose pieces are gone."""
    return delete(file_bodies).where(_b.number == _BODY)
