"""How a SQLite file is made ready: new, as it is, or migrated after a copy."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.schema import CreateIndex, CreateTable

from headrace.clock import sleep_thread
from headrace.errors import StoreError
from headrace.stores.schema import SCHEMA_VERSION, metadata
from headrace.stores.sqlite_connection import BUSY_S, Connection, SqliteFile
from headrace.stores.sqlite_errors import translate
from headrace.stores.statement import SQLITE

_PAUSE_S: Final = 0.02


def prepare(file: SqliteFile) -> Connection:
    """Open the file for writing, and bring its tables to `SCHEMA_VERSION`.

    Raises:
        StoreError: it cannot be opened, or holds something else.
    """
    folder = file.path.absolute().parent
    if not folder.is_dir():
        raise StoreError(
            f"store {file.path}: there is no folder {folder}; make it first"
        )
    connection = Connection(file)
    try:
        _use_wal(connection.raw)
        _bring_up(connection.raw, file.path)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, file.path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(raw: sqlite3.Connection) -> None:
    """Switch to a write-ahead log: SQLite does not wait when another process does too."""
    waited_s = 0.0
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or waited_s >= BUSY_S:
                raise
        else:
            return
        sleep_thread(_PAUSE_S)
        waited_s += _PAUSE_S


def _bring_up(raw: sqlite3.Connection, path: Path) -> None:
    found = _version(raw)
    if found is None:
        raw.execute("BEGIN IMMEDIATE")  # another process may be making them now
        try:
            found = _version(raw)
            if found is None:
                _create(raw, path)
                found = SCHEMA_VERSION
            raw.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                raw.execute("ROLLBACK")
            raise
    if found != SCHEMA_VERSION:
        _migrate(raw, path, found)


def _version(raw: sqlite3.Connection) -> str | None:
    """Return the revision of the tables: None without any, empty before the first."""
    named = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if not raw.execute(named).fetchall():
        return None
    rows = raw.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(rows[0][0]) if rows else ""


def _create(raw: sqlite3.Connection, path: Path) -> None:
    """Make all tables at once; migrations are for those who have older ones."""
    if raw.execute("SELECT 1 FROM sqlite_master").fetchall():
        raise StoreError(
            f"store {path}: this SQLite database belongs to another program; "
            "name another file"
        )
    for table in metadata.sorted_tables:
        raw.execute(str(CreateTable(table).compile(dialect=SQLITE.dialect)))
        for index in sorted(table.indexes, key=lambda i: str(i.name)):
            raw.execute(str(CreateIndex(index).compile(dialect=SQLITE.dialect)))
    raw.execute(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    raw.execute("INSERT INTO alembic_version VALUES (?)", (SCHEMA_VERSION,))


def _migrate(raw: sqlite3.Connection, path: Path, found: str) -> None:
    from headrace.stores import migrating  # Alembic is slow to import

    if not migrating.is_older(found):
        raise StoreError(
            f"store {path}: its tables are of version {found}, newer than this program "
            f"knows ({SCHEMA_VERSION}); use a newer Headrace"
        )
    copy = path.with_name(f"{path.name}.before-{SCHEMA_VERSION}")
    with contextlib.closing(sqlite3.connect(copy)) as target:
        raw.backup(target)
    migrating.migrate_sqlite(path)
