"""Opens the place of a service's files, beside its store."""

from __future__ import annotations

from pathlib import Path

from headrace.files.directory import open_directory
from headrace.files.memory import MemoryFiles
from headrace.ports import Files

_HERE = "headrace.files"


async def open_files(where: str) -> Files:
    """Open the files that belong to a store.

    Args:
        where: the store: `:memory:` keeps files in memory too, `PATH` in the directory
            `PATH.files`; those beside a PostgreSQL are in `headrace.files`, here.

    Raises:
        StoreError: the place cannot be used.
    """
    if where == ":memory:":
        return MemoryFiles()
    is_remote = "://" in where
    return await open_directory(Path(_HERE if is_remote else f"{where}.files"))
