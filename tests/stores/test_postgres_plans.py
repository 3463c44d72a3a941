"""PostgreSQL must find rows by an index, too, whatever it believes of their number."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.stores import (
    statements_items,
    statements_jobs,
    statements_notes,
    statements_outcomes,
    statements_pieces,
    statements_sums,
)
from headrace.stores.opening import no_offset
from headrace.stores.postgres import Database
from headrace.stores.statement import POSTGRESQL, RowStatement, Statement

pytestmark = pytest.mark.postgres

VALUES: dict[str, Any] = {"int2": 1, "int4": 1, "int8": 1, "float8": 1.0, "bytea": b""}
LARGE = ("items", "payloads", "results", "attempts", "file_pieces", "file_bodies")


def statements() -> dict[str, str]:
    """Return the text of each statement that reads or changes rows, by its name."""
    modules = (
        statements_items,
        statements_jobs,
        statements_notes,
        statements_outcomes,
        statements_pieces,
        statements_sums,
    )
    return {
        name: value.compiled(POSTGRESQL).text
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Statement)
        or (isinstance(value, RowStatement) and not value.copy_into)
    }


def value_of(kind: str) -> Any:
    if kind.endswith("[]"):
        return [value_of(kind.removesuffix("[]"))]
    return VALUES.get(kind, "a")


async def plan(connection: Any, text: str) -> str:
    prepared = await connection.prepare(text)
    values = [value_of(kind.name) for kind in prepared.get_parameters()]
    rows = await connection.fetch(f"EXPLAIN {text}", *values)
    return "\n".join(row[0] for row in rows)


def test_no_statement_reads_a_whole_table_of_items(migrated: str) -> None:
    async def main() -> list[str]:
        connection = await Database(migrated, no_offset).connect()
        bad = []
        for name, text in statements().items():
            found = await plan(connection, text)
            scans = [table for table in LARGE if f"Seq Scan on {table}" in found]
            if scans or "JIT" in found:
                bad.append(f"{name}:\n{found}")
        await connection.close()
        return bad

    assert asyncio.run(main()) == []
