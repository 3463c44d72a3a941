"""Opens the place of a service's files, in or beside its store."""

from __future__ import annotations

from pathlib import Path

from headrace.files.directory import open_directory
from headrace.files.memory import MemoryFiles
from headrace.files.table import TableFiles
from headrace.ports import FilePieces, Files

_SQLITE = "sqlite:///"


async def open_files(where: str, pieces: FilePieces | None) -> Files:
    """Open the files that belong to a store.

    Args:
        where: the store: `:memory:` keeps files in memory too, `PATH` and
            `sqlite:///PATH` in the directory `PATH.files`, a PostgreSQL database in
            tables of its own.
        pieces: `Store.file_pieces()` of that store.

    Raises:
        StoreError: the place cannot be used.
    """
    if where == ":memory:":
        return MemoryFiles()
    path = where.removeprefix(_SQLITE)
    if "://" not in path:
        return await open_directory(Path(f"{path}.files"))
    assert pieces is not None, "a database has a place for files"
    return TableFiles(pieces)
