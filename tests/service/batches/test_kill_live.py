"""A process killed in any state of a batch loses and doubles nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import headrace
from headrace.service.openai.batch import Batch
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.batchfiles import file_id_of

pytestmark = [pytest.mark.live, pytest.mark.slow]
COUNT = 6_000
PROCESS = Path(__file__).with_name("batch_process.py")
TESTS = Path(__file__).parents[2]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder), str(COUNT), *words],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def kill_in(folder: Path, state: str, after_s: float, *words: str) -> str:
    """Start the process and kill it so long after a state; return its last state."""
    last = ""
    with start(folder, *words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip()
            if last == state:
                time.sleep(after_s)
                process.kill()
    return last


def batch_in(folder: Path) -> Batch:
    async def main() -> Batch:
        async with headrace.open(folder / "h.db") as home:
            page, _ = await BatchBook(home.store.documents()).page(None, None, 2)
            (batch,) = page
            return batch

    return asyncio.run(main())


def names(folder: Path, file_id: str | None) -> list[str]:
    data = b"" if file_id is None else (folder / "files" / file_id).read_bytes()
    return [json.loads(line)["custom_id"] for line in data.splitlines()]


@pytest.mark.parametrize(
    ("state", "waits", "end"),
    [
        ("validating", (0.0, 0.03, 0.08), "completed"),
        ("in_progress", (0.0, 0.15, 0.3), "completed"),
        ("finalizing", (0.0, 0.02, 0.05), "completed"),
        ("cancelling", (0.0, 0.02, 0.05), "cancelled"),
    ],
)
def test_a_batch_killed_again_and_again_ends_with_each_line_once(
    tmp_path: Path, state: str, waits: tuple[float, ...], end: str
) -> None:
    words = ("cancel",) if end == "cancelled" else ()
    for after_s in waits:
        kill_in(tmp_path, state, after_s, *words)
    assert kill_in(tmp_path, "never", 0, *words) == end
    batch = batch_in(tmp_path)
    assert batch.output_file_id == file_id_of(batch.id, "output")
    good = names(tmp_path, batch.output_file_id)
    bad = names(tmp_path, batch.error_file_id)
    assert Counter(good + bad) == Counter(f"r{n}" for n in range(COUNT))
    assert len(good) == batch.counts.completed
    kept = {p.name for p in (tmp_path / "files").iterdir()}
    wanted = {batch.input_file_id, batch.output_file_id, batch.error_file_id}
    assert kept == wanted
