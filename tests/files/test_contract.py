"""All places for files keep one contract."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.files.directory import open_directory
from headrace.files.memory import MemoryFiles
from headrace.testing.files_contract import CHECKS, FilesCheck, pieces


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_files_in_memory_keep_the_contract(check: FilesCheck) -> None:
    asyncio.run(check(MemoryFiles()))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_files_in_a_directory_keep_the_contract(
    check: FilesCheck, tmp_path: Path
) -> None:
    async def main() -> None:
        files = await open_directory(tmp_path / "files")
        await check(files)
        assert not list((tmp_path / "files").glob("*.partial"))
        await files.close()

    asyncio.run(main())


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.0123.partial").write_bytes(b"half")
    (tmp_path / "b").write_bytes(b"whole")
    asyncio.run(open_directory(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        files = await open_directory(tmp_path)
        with pytest.raises(StoreError, match="free room"):
            await files.write("a", pieces(*[b"x" * 2**20] * 8))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 2**20, before[1]))
    try:
        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
