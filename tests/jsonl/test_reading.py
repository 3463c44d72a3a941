"""What counts as a line, however the input is packed, cut or handed over."""

from __future__ import annotations

import asyncio
import gzip
import os
import tracemalloc
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.jsonl.reading import Input, Oversized, Splitter, opened


def lines_of(path: Path | str, max_line_bytes: int = 1000) -> list[bytes | Oversized]:
    async def main() -> list[bytes | Oversized]:
        found: list[bytes | Oversized] = []
        async with opened(str(path)) as source:
            for block in source.blocks(max_line_bytes):
                assert block.first == len(found) + 1
                found += block.lines
        return found

    return asyncio.run(main())


def identity_of(path: Path | str) -> Input:
    async def main() -> Input:
        async with opened(str(path)) as source:
            return source

    return asyncio.run(main())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


def test_a_missing_last_newline_loses_nothing(file: Path) -> None:
    file.write_bytes(b"one\ntwo")
    assert lines_of(file) == [b"one", b"two"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfone\n")
    assert lines_of(file) == [b"one"]


def test_blank_lines_count_as_lines(file: Path) -> None:
    file.write_bytes(b"one\n\n\ntwo\n")
    assert lines_of(file) == [b"one", b"", b"", b"two"]


def test_an_empty_file_has_no_lines(file: Path) -> None:
    file.write_bytes(b"")
    assert lines_of(file) == []


def test_gzip_is_recognised_by_its_content(file: Path) -> None:
    file.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert lines_of(file) == [b"one", b"two"]


def test_a_gz_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(b"one\n")
    with pytest.raises(InputError, match="no gzip file"):
        lines_of(path)


@pytest.mark.parametrize("cut", [5, 20, -4])
def test_a_cut_gzip_file_is_refused(file: Path, cut: int) -> None:
    file.write_bytes(gzip.compress(b"one\n" * 100)[:cut])
    with pytest.raises(InputError, match="cannot be read"):
        lines_of(file)


def test_a_damaged_gzip_file_is_refused(file: Path) -> None:
    packed = bytearray(gzip.compress(os.urandom(1000)))
    packed[500] ^= 0xFF
    file.write_bytes(packed)
    with pytest.raises(InputError, match="cannot be read"):
        lines_of(file, 10_000)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_utf_16_is_refused_by_name(file: Path, encoding: str) -> None:
    file.write_bytes("\ufeff{}\n".encode(encoding))
    with pytest.raises(InputError, match="UTF-16"):
        lines_of(file)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        lines_of(tmp_path / "nothing.jsonl")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        lines_of(tmp_path)


def test_the_digest_is_of_the_bytes_as_they_lie_there(file: Path) -> None:
    packed = gzip.compress(b"one\n", mtime=0)
    file.write_bytes(packed)
    found = identity_of(file)
    assert found.size == len(packed)
    assert found.digest == blake2b(packed, digest_size=16).hexdigest()


def test_a_file_that_grows_while_it_is_read_is_refused(file: Path) -> None:
    async def main() -> None:
        async with opened(str(file)) as source:
            with file.open("ab") as end:
                end.write(b"more\n")
            list(source.blocks())

    file.write_bytes(b"one\n")
    with pytest.raises(InputError, match="changed"):
        asyncio.run(main())


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    async def main() -> list[bytes | Oversized]:
        async with opened(f"/dev/fd/{reader}") as source:
            return [line for block in source.blocks() for line in block.lines]

    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\n")
    os.close(writer)
    assert asyncio.run(main()) == [b"one", b"two"]
    os.close(reader)


def test_waiting_for_a_silent_pipe_can_be_cancelled() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), opened(f"/dev/fd/{reader}"):
                pass

    reader, writer = os.pipe()
    asyncio.run(main())
    os.close(reader)
    os.close(writer)


def test_nothing_at_all_is_an_empty_input() -> None:
    assert lines_of("/dev/null") == []


def test_a_line_that_is_too_long_is_only_measured(file: Path) -> None:
    file.write_bytes(b"a" * 1001 + b"\n" + b"b" * 1000 + b"\n")
    assert lines_of(file) == [Oversized(1001), b"b" * 1000]


def test_a_line_that_is_too_long_is_never_in_memory(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(50_000_000)
    tracemalloc.start()
    assert lines_of(file) == [Oversized(50_000_000)]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4_000_000


@given(st.lists(st.binary(max_size=30)), st.integers(0, 12))
def test_lines_do_not_depend_on_where_blocks_are_cut(
    blocks: list[bytes], max_line_bytes: int
) -> None:
    splitter = Splitter(max_line_bytes)
    found = [line for block in blocks for line in splitter.feed(block)]
    found += splitter.rest()
    whole = b"".join(blocks).split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert found == [
        line if len(line) <= max_line_bytes else Oversized(len(line)) for line in whole
    ]
