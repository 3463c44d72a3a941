"""All places for files keep one contract."""

from __future__ import annotations

import asyncio
import resource
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.files.directory import open_directory
from headrace.files.memory import MemoryFiles
from headrace.testing.files_contract import CHECKS, FilesCheck, pieces, whole


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


def test_two_services_on_a_directory_leave_each_others_uploads_alone(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        first, second = await open_directory(tmp_path), await open_directory(tmp_path)

        async def watched() -> AsyncIterator[bytes]:
            yield b"x" * 2**21
            await second.tidy()
            await open_directory(tmp_path)
            yield b"y"

        assert await first.write("a", watched()) == 2**21 + 1
        assert await whole(second, "a") == b"x" * 2**21 + b"y"
        await first.tidy()

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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


def test_a_directory_that_is_gone_is_an_error_and_no_missing_file(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        files = await open_directory(tmp_path / "files")
        await files.write("a", pieces(b"1"))
        shutil.rmtree(tmp_path / "files")
        for asked in (
            files.write("b", pieces(b"1")),
            whole(files, "a"),
            files.size("a"),
            files.delete("a"),
            files.tidy(),
        ):
            with pytest.raises(StoreError, match="No such file or directory"):
                await asked

    asyncio.run(main())
