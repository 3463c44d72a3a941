"""One connection to a SQLite file, and how a transaction runs on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from headrace.clock import Clock
from headrace.stores.packing import Packer
from headrace.stores.sql import Taken
from headrace.stores.sqlite_errors import translate
from headrace.stores.statement import (
    SQLITE,
    Each,
    Packing,
    Query,
    Row,
    RowStatement,
    Step,
    Steps,
)

T = TypeVar("T")

BUSY_S: Final = 10.0
"""How long a statement waits for another process's transaction."""

_json = msgspec.json.Encoder().encode


class SqliteFile(msgspec.Struct, frozen=True):
    """Which file, and how carefully."""

    path: Path
    clock: Clock
    synchronous: Literal["normal", "full"] = "normal"
    """`normal` is safe against kill -9, `full` against a loss of power too."""


class Connection:
    """A connection that belongs to the one thread that uses it."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._packer = Packer()
        try:
            self.raw = sqlite3.connect(
                file.path,
                timeout=BUSY_S,
                isolation_level=None,
                cached_statements=256,
                check_same_thread=False,
            )
            self.raw.execute(f"PRAGMA synchronous={file.synchronous}")
            self.raw.execute("PRAGMA temp_store=MEMORY")
            # A tenth more items a second go in than with SQLite's 2 MB and 4 MB; the
            # log may then grow to 64 MB.
            self.raw.execute("PRAGMA cache_size=-8192")
            self.raw.execute("PRAGMA wal_autocheckpoint=16000")
        except sqlite3.Error as error:
            raise translate(error, file.path) from error

    def write(self, make: Callable[[], Steps[T]]) -> T:
        """Run a transaction that changes something: wholly, or not at all."""
        return self._transaction("BEGIN IMMEDIATE", make())

    def read(self, make: Callable[[], Steps[T]]) -> T:
        """Run a transaction that sees one state of the database."""
        return self._transaction("BEGIN", make())

    def _transaction(self, begin: str, steps: Steps[T]) -> T:
        raw = self.raw
        try:
            raw.execute(begin)
            try:
                value = self._drive(steps)
                raw.execute("COMMIT")
            except BaseException:
                if raw.in_transaction:  # a full disk may have ended it already
                    raw.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError as error:
            raise Taken(str(error)) from error
        except sqlite3.Error as error:
            raise translate(error, self._file.path) from error
        return value

    def _drive(self, steps: Steps[T]) -> T:
        now = self._file.clock.utc()
        try:
            step = next(steps)
            while True:
                step = steps.send(self._run(step, now))
        except StopIteration as stop:
            value: T = stop.value
            return value

    def _run(self, step: Step, now: float) -> Any:
        match step:
            case Query(statement, given):
                wanted = statement.compiled(SQLITE)
                arguments = wanted.arguments(_given(given, now))
                return self.raw.execute(wanted.text, arguments).fetchall()
            case Each(row_statement, rows):
                done = self._run_blocks(row_statement, rows)
                text = row_statement.compiled(SQLITE).text
                self.raw.executemany(text, rows[done:])
                return ()
            case Packing():
                return self._packer

    def _run_blocks(self, statement: RowStatement, rows: Sequence[Row]) -> int:
        """Insert as many whole blocks as there are; return how many rows that took."""
        done = 0
        for size, block in statement.blocks.items():
            while len(rows) - done >= size:
                values = list(chain.from_iterable(rows[done : done + size]))
                self.raw.execute(block.compiled(SQLITE).text, values)
                done += size
        return done

    def close(self) -> None:
        """Give the file back; idempotent."""
        self.raw.close()


def _given(given: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the parameters as SQLite takes them: a list is a JSON array."""
    found = {
        name: _json(value).decode() if isinstance(value, list) else value
        for name, value in given.items()
    }
    found["now"] = now
    return found
