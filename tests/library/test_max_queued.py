"""A bounded store refuses what would wait too long."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import headrace
from headrace.errors import QueueFull


def test_more_items_than_may_wait_are_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def main() -> None:
        async with headrace.open(path, max_queued=100) as home:
            await home.submit(list(range(60)), "later")
            with pytest.raises(
                QueueFull, match="'later': 101 items would wait"
            ) as full:
                await home.submit(list(range(41)), "later")
            assert full.value.retry_after_s > 0
            await home.submit(list(range(41)), "another")

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM items").fetchone() == (101,)
