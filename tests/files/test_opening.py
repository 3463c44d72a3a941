"""Files lie in or beside the store that they belong to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headrace.files.opening import open_files


@pytest.mark.parametrize("address", ["{}", "sqlite:///{}"])
def test_files_lie_beside_a_sqlite_store_however_it_is_named(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    asyncio.run(open_files(address.format(tmp_path / "jobs.db"), None))
    assert (tmp_path / "jobs.db.files").is_dir()
    assert not list(elsewhere.iterdir())


def test_files_of_a_store_in_memory_leave_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(open_files(":memory:", None))
    assert not list(tmp_path.iterdir())
