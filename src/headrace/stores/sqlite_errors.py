"""What SQLite's errors mean to the user, in one table."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from headrace.errors import StoreError, StoreFull

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then run again",
    sqlite3.SQLITE_READONLY: "the file is read-only: "
    "allow writing to it and to its folder, or name another store",
    sqlite3.SQLITE_BUSY: "another process has held it locked for too long: "
    "wait for it to end, then run again",
    sqlite3.SQLITE_LOCKED: "it is locked: wait for its user to end, then run again",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: "
    "restore a copy, or rescue what is left with `sqlite3 FILE .recover`",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database: "
    "name another store, or move the file away",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: "
    "make sure that its folder exists and may be written to",
    sqlite3.SQLITE_PERM: "access is denied: allow reading and writing it",
    sqlite3.SQLITE_AUTH: "access is denied: allow reading and writing it",
    sqlite3.SQLITE_IOERR: "the disk failed while reading or writing: "
    "look at the system's log",
}


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the error that names the file and says what to do next."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF  # the rest is the extended code
    advice = _ADVICE.get(primary or 0, "the database refused")
    kind = StoreFull if primary == sqlite3.SQLITE_FULL else StoreError
    return kind(f"store {path}: {advice} ({error})")
