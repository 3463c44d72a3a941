"""Statements written once in SQLAlchemy Core, compiled once for each database.

A statement is a function of the `Flavour` it is compiled for; the drivers run its
text directly, since going through an engine costs more than the statement itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Dialect,
    Double,
    Executable,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    func,
    insert,
    select,
)
from sqlalchemy import column as named
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

Row: TypeAlias = Any  # a tuple of columns, or asyncpg's record
Rows: TypeAlias = Sequence[Row]
T = TypeVar("T")


class Flavour(msgspec.Struct, frozen=True, eq=False):
    """What differs between the databases."""

    name: Literal["sqlite", "postgresql"]
    dialect: Any

    @property
    def now(self) -> ColumnElement[float]:
        """The time that leases and deadlines compare with, UTC seconds.

        SQLite has one host, and takes it as a parameter. PostgreSQL's own clock is the
        only one that all its users share; the offset is 0 but in tests.
        """
        if self.name == "sqlite":
            return bindparam("now", type_=Double)
        server = cast(func.extract("epoch", func.clock_timestamp()), Double)
        return server + bindparam("offset_s", type_=Double)

    def among(
        self, column: ColumnElement[Any], values: str, type_: Any = BigInteger
    ) -> ColumnElement[bool]:
        """Is the column one of the list bound as `values`?"""
        if self.name == "postgresql":
            return column == any_(bindparam(values, type_=ARRAY(type_)))
        each = func.json_each(bindparam(values, type_=Text)).table_valued("value")
        return column.in_(select(each.c.value))


class _HintingCompiler(SQLiteCompiler):
    """SQLAlchemy leaves SQLite's one index hint out; without it a plan is a gamble."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        return text


class _SqliteDialect(SQLiteDialect_pysqlite):
    statement_compiler = _HintingCompiler
    supports_statement_cache = True


SQLITE: Final = Flavour("sqlite", _SqliteDialect(paramstyle="qmark"))
POSTGRESQL: Final = Flavour("postgresql", PGDialect_asyncpg())  # type: ignore[no-untyped-call]


JOB: Final = bindparam("job", type_=BigInteger)
LIMIT: Final = bindparam("limit", type_=BigInteger)
OF: Final = bindparam("of", type_=BigInteger)
FIRST: Final = bindparam("first", type_=BigInteger)
LAST: Final = bindparam("last", type_=BigInteger)


class Compiled(msgspec.Struct, frozen=True):
    """A statement as the driver wants it."""

    text: str
    names: tuple[str, ...]
    """The parameters, in the order of their places in the text."""
    defaults: Mapping[str, Any]

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of their places."""
        defaults = self.defaults
        return [given[n] if n in given else defaults[n] for n in self.names]


def compile_for(executable: Executable, dialect: Dialect) -> Compiled:
    """Return the statement's text and the order of its parameters."""
    clause: Any = executable
    compiled = clause.compile(dialect=dialect)
    return Compiled(str(compiled), tuple(compiled.positiontup or ()), compiled.params)


class Statement:
    """One statement, compiled when it is first needed."""

    def __init__(self, build: Callable[[Flavour], Executable]) -> None:
        self._build = build
        self._compiled: dict[str, Compiled] = {}
        self.__doc__ = build.__doc__

    def compiled(self, flavour: Flavour) -> Compiled:
        """Return the statement as this database's driver wants it."""
        found = self._compiled.get(flavour.name)
        if found is None:
            found = compile_for(self._build(flavour), flavour.dialect)
            self._compiled[flavour.name] = found
        return found


class Query(msgspec.Struct, frozen=True):
    """Run a statement and hand back its rows."""

    statement: Statement
    given: Mapping[str, Any] = {}


class Each(msgspec.Struct, frozen=True):
    """Run a statement once for each row of values; no rows come back.

    The rows' values stand in the order of the statement's `fields`.
    """

    statement: RowStatement
    rows: Sequence[tuple[Any, ...]]


BLOCKS: Final = (250, 50)
"""Rows of a block, the largest first: inserts 1.4 times as many rows a second as one by
one (measured). While SQLite takes a large one, other threads have the interpreter for
half a millisecond, and need not take it from each other."""


class RowStatement:
    """A statement that is run for hundreds of rows at once.

    SQLite runs it row by row in one transaction, a bare insert block by block;
    PostgreSQL takes the rows as arrays, or, for a bare insert, through COPY.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        build: Callable[[Flavour], Executable],
        copy_into: str | None = None,
        blocks: Mapping[int, Statement] | None = None,
    ) -> None:
        self.fields = tuple(fields)
        self.copy_into = copy_into
        self.blocks = blocks or {}
        """The same for so many rows at once, their values one after the other."""
        self._statement = Statement(build)

    def compiled(self, flavour: Flavour) -> Compiled:
        """Return the statement as this database's driver wants it."""
        found = self._statement.compiled(flavour)
        if found.names != self.fields:
            raise AssertionError(f"{found.names} are not in the order {self.fields}")
        return found


def insert_each(table: Table, *fields: str) -> RowStatement:
    """Return the statement that inserts rows of these columns."""
    columns = {name: table.c[name].type for name in fields}

    def build(_: Flavour) -> Executable:
        values: dict[str, Any] = {name: bindparam(name) for name in fields}
        return insert(table).values(values).inline()

    def block_of(count: int) -> Statement:
        def build_block(_: Flavour) -> Executable:
            rows: list[dict[str, Any]] = [
                {name: bindparam(f"{name}_{n}") for name in fields}
                for n in range(count)
            ]
            return insert(table).values(rows).inline()

        return Statement(build_block)

    blocks = {count: block_of(count) for count in BLOCKS}
    return RowStatement(columns, build, table.name, blocks)


def given_rows(d: Flavour, types: Mapping[str, Any]) -> Any:
    """Return the values of a row: parameters, or the columns of unnested arrays."""
    if d.name == "sqlite":
        return {name: bindparam(name, type_=type_) for name, type_ in types.items()}
    arrays = [bindparam(name, type_=ARRAY(type_)) for name, type_ in types.items()]
    columns = [named(name, type_) for name, type_ in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived().c


class Packing(msgspec.Struct, frozen=True):
    """Hand me the `Packer` of the thread that I run in."""


Step: TypeAlias = Query | Each | Packing
Steps: TypeAlias = Generator[Step, Any, T]
"""One transaction as a conversation: it yields what to run and is sent the rows.

So one body of logic serves a thread with sqlite3 and a coroutine with asyncpg.
"""
