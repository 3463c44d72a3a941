"""Opens the place of a service's files, beside its store."""

from __future__ import annotations

from pathlib import Path

from headrace.files.directory import open_directory
from headrace.files.memory import MemoryFiles
from headrace.ports import Files

_HERE = "headrace.files"
_SQLITE = "sqlite:///"


async def open_files(where: str) -> Files:
    """Open the files that belong to a store.

    Args:
        where: the store: `:memory:` keeps files in memory too, `PATH` and
            `sqlite:///PATH` in the directory `PATH.files`; those beside a PostgreSQL
            are in `headrace.files`, here.

    Raises:
        StoreError: the place cannot be used.
    """
    if where == ":memory:":
        return MemoryFiles()
    path = where.removeprefix(_SQLITE)
    is_remote = "://" in path
    return await open_directory(Path(_HERE if is_remote else f"{path}.files"))
