"""Statements about notes, one function each."""

from __future__ import annotations

from sqlalchemy import (
    Double,
    Executable,
    Text,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from headrace.stores.schema import notes
from headrace.stores.statement import Flavour, RowStatement, Statement, given_rows

_FIELDS = {f"new_{c.name}": c.type for c in notes.columns}


def _upsert(d: Flavour) -> Executable:
    given = given_rows(d, _FIELDS)
    new = [given[name] for name in _FIELDS]
    if d.name == "sqlite":
        light = sqlite.insert(notes).values(new)
        return light.on_conflict_do_update(
            index_elements=[notes.c.name],
            set_={n: light.excluded[n] for n in ("value", "written_at")},
        )
    heavy = postgresql.insert(notes).from_select(list(notes.columns), select(*new))
    return heavy.on_conflict_do_update(
        index_elements=[notes.c.name],
        set_={n: heavy.excluded[n] for n in ("value", "written_at")},
    )


write = RowStatement(_FIELDS, _upsert)
"""Write notes, over older ones of the same names."""


@Statement
def time(d: Flavour) -> Executable:
    """The time by which notes are dated."""
    return select(d.now)


@Statement
def delete_older(_: Flavour) -> Executable:
    """Forget the notes that nobody has written since a time."""
    return delete(notes).where(notes.c.written_at < bindparam("since", type_=Double))


@Statement
def beginning_with(_: Flavour) -> Executable:
    """The notes whose names begin so, in order of their names.

    Compared by characters, for LIKE has wildcards and folds case in SQLite; there are
    too few notes for a whole look to matter.
    """
    prefix = bindparam("prefix", type_=Text)
    begins = func.substr(notes.c.name, 1, func.length(prefix)) == prefix
    return select(notes.c.name, notes.c.value).where(begins).order_by(notes.c.name)
