"""Opens the store that a command names, and finds the job that a user means."""

from __future__ import annotations

import difflib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.cli import words
from headrace.clock import SystemClock
from headrace.config import load_store
from headrace.errors import ConfigError, NotFound
from headrace.jobs import Job
from headrace.jsonl.rendering import output_path
from headrace.ports import Store
from headrace.stores.opening import is_postgres, open_store, sqlite_path

_PAGE = 200
_MAX_LOOKED_AT = 2_000
_MAX_HINTS = 3


@asynccontextmanager
async def found_store(flag: str | None) -> AsyncIterator[Store]:
    """Open the store that the flag, the environment or the settings file names.

    A SQLite file that is not there is refused: to look must not make one.

    Raises:
        ConfigError: there is no such store.
        StoreError: it cannot be opened.
    """
    address, source = load_store(flag, os.environ, Path.cwd())
    if not is_postgres(address):
        path = sqlite_path(address)
        if not path.exists():
            named = f"named by {source}" if source else "name another by --store"
            raise ConfigError(f"there is no store {words.address(address)} ({named})")
    store = await open_store(address, SystemClock())
    try:
        yield store
    finally:
        await store.close()


async def find_job(store: Store, ref: str) -> Job:
    """Return the job with that id, name or output path.

    Raises:
        NotFound: there is none; names the nearest.
    """
    job = await store.job(ref) or await store.job(str(output_path(ref)))
    if job is not None:
        return job
    near = await _nearest(store, ref)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise NotFound(
        f"no job {ref!a}{hint} (`headrace jobs list` shows all; a job is named by "
        "its id, its name or the path of its output)"
    )


async def each_job(store: Store, most: int) -> AsyncIterator[Job]:
    """Give jobs, newest first, at most so many."""
    before: int | None = None
    while most > 0 and (page := await store.jobs(min(_PAGE, most), before)):
        for job in page:
            yield job
        most -= len(page)
        before = page[-1].number


async def _nearest(store: Store, ref: str) -> list[str]:
    ids: dict[str, str] = {}
    async for job in each_job(store, _MAX_LOOKED_AT):
        ids[job.id] = job.id
        if job.name is not None:
            ids[job.name] = job.name
            ids.setdefault(Path(job.name).name, job.name)
    near = difflib.get_close_matches(ref, ids, n=_MAX_HINTS, cutoff=0.5)
    return list(dict.fromkeys(ids[each] for each in near))
