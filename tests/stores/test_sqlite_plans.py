"""SQLite must find rows by an index; a scan of a million items would show only late."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from headrace.jobs import NewItem, NewJob
from headrace.stores import statements_items as of_items
from headrace.stores import statements_jobs as of_jobs
from headrace.stores import statements_notes as of_notes
from headrace.stores import statements_outcomes as of_outcomes
from headrace.stores import statements_sums as of_sums
from headrace.stores.opening import open_store
from headrace.stores.statement import POSTGRESQL, SQLITE, RowStatement, Statement
from headrace.testing.clocks import MovableClock

INDEXED = {
    "candidates": (of_items.candidates, "items_queued"),
    "endable": (of_items.endable, "items_queued"),
    "flows": (of_jobs.flows, "items_queued"),
    "orphans": (of_items.orphans, "items_running"),
    "jobs_of_orphans": (of_items.jobs_of_orphans, "items_running"),
    "held_jobs": (of_jobs.held_jobs, "items_running"),
    "by_numbers": (of_jobs.by_numbers, "items_running"),
    "page": (of_outcomes.page, "results_number"),
    "known_ids": (of_items.known_ids, "items_custom_id"),
    "attempts_of": (of_outcomes.attempts_of, "ix_attempts_item"),
    "troubles": (of_sums.troubles, "ix_attempts_item"),
    "queued": (of_sums.queued, "items_running"),
    "queued_of": (of_sums.queued_of, "items_running"),
    "held": (of_items.held, "INTEGER PRIMARY KEY"),
    "take": (of_items.take, "INTEGER PRIMARY KEY"),
    "finish_items": (of_items.finish_items, "INTEGER PRIMARY KEY"),
    "end_items": (of_items.end_items, "INTEGER PRIMARY KEY"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    async def make() -> None:
        await (await open_store(tmp_path / "a.db", MovableClock())).close()

    asyncio.run(make())
    return tmp_path / "a.db"


@pytest.mark.parametrize("name", INDEXED)
def test_a_statement_finds_its_items_by_an_index(name: str, path: Path) -> None:
    statement: Statement | RowStatement
    statement, index = INDEXED[name]
    wanted = statement.compiled(SQLITE)
    with closing(sqlite3.connect(path)) as connection:
        text = f"EXPLAIN QUERY PLAN {wanted.text}"
        rows = connection.execute(text, ["[1]"] * len(wanted.names)).fetchall()
    plan = [row[3] for row in rows]
    assert any(index in step for step in plan), plan
    assert not [step for step in plan if step in ("SCAN items", "SCAN results")]


def test_items_are_leased_in_order_without_sorting(path: Path) -> None:
    wanted = of_items.candidates.compiled(SQLITE)
    with closing(sqlite3.connect(path)) as connection:
        text = f"EXPLAIN QUERY PLAN {wanted.text}"
        rows = connection.execute(text, [1] * len(wanted.names)).fetchall()
    assert not [row for row in rows if "B-TREE" in row[3]]


def test_every_statement_compiles_for_both_databases() -> None:
    for module in (of_items, of_jobs, of_notes, of_outcomes, of_sums):
        for value in vars(module).values():
            if isinstance(value, Statement | RowStatement):
                assert value.compiled(SQLITE).text
                assert value.compiled(POSTGRESQL).text


def test_large_payloads_are_kept_packed(path: Path) -> None:
    async def fill() -> None:
        store = await open_store(path, MovableClock())
        job, _ = await store.create(NewJob("r"))
        items = [NewItem("small", b"a" * 1023), NewItem("large", b"a" * 1024)]
        await store.add(job.number, items)
        await store.close()

    asyncio.run(fill())
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT packed, length(body) FROM payloads"
        ).fetchall()
    assert rows[0] == (0, 1023)
    assert rows[1][0] == 1
    assert rows[1][1] < 100


@pytest.mark.slow
@pytest.mark.live
def test_opening_a_file_imports_neither_alembic_nor_asyncpg(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from headrace.clock import SystemClock\n"
        "from headrace.stores.opening import open_store\n"
        f"store = asyncio.run(open_store({str(tmp_path / 'a.db')!r}, SystemClock()))\n"
        "print([m for m in ('alembic', 'asyncpg') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
