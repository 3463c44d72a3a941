"""What an input gives as items, and what it is refused for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DuplicateItem, InputError
from headrace.jobs import Job, NewItem, NewJob
from headrace.jsonl.badline import BadLine
from headrace.jsonl.examination import examine
from headrace.jsonl.reading import opened
from headrace.jsonl.submission import submit
from headrace.jsonl.validation import BadLines, Batch, InputRules, Validation
from headrace.wire import HttpRequest, decode_request


def line(name: str) -> bytes:
    fields = {"custom_id": name, "method": "POST", "url": "/v1/x", "body": {"n": 1}}
    return json.dumps(fields).encode()


class OneJob:
    """An intake with a single job, and a count of the rows it was offered."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.offered = 0

    async def add(self, job: int, items: Sequence[NewItem]) -> None:
        new: dict[str, int] = {}
        for item in items:
            seq = len(self.names) + len(new)
            self.offered += 1
            if item.custom_id in self.names or item.custom_id in new:
                raise DuplicateItem("twice", custom_id=item.custom_id, seq=seq)
            new[item.custom_id] = seq
        self.names |= new

    async def create(self, new: NewJob) -> tuple[Job, bool]:
        raise AssertionError(new)

    async def seal(self, job: int) -> Job:
        raise AssertionError(job)

    async def remove(self, job: int) -> None:
        raise AssertionError(job)


def validate(
    path: Path, rules: InputRules | None = None
) -> tuple[list[Batch], BadLines, Validation]:
    async def main() -> tuple[list[Batch], BadLines, Validation]:
        bad = BadLines()
        async with opened(str(path)) as source:
            validation = Validation(source, rules or InputRules(), tokens, bad)
            return list(validation.batches()), bad, validation

    return asyncio.run(main())


def placed(batches: list[Batch]) -> list[tuple[str, int]]:
    """Return the name and line of each item."""
    return [
        (item.custom_id, number)
        for batch in batches
        for item, number in zip(batch.items, batch.numbers, strict=True)
    ]


def tokens(request: HttpRequest) -> int:
    return len(request.body or b"")


def stored(path: Path) -> tuple[OneJob, BadLines, int]:
    async def main() -> tuple[OneJob, BadLines, int]:
        intake, bad = OneJob(), BadLines()
        async with opened(str(path)) as source:
            validation = Validation(source, InputRules(), tokens, bad)
            total = await submit(intake, 1, validation)
        return intake, bad, total

    return asyncio.run(main())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "IN.jsonl"


def test_good_lines_become_items_with_their_line_numbers(file: Path) -> None:
    file.write_bytes(b"\n" + line("a") + b"\r\nrubbish\n\n" + line("b"))
    batches, bad, validation = validate(file)
    assert placed(batches) == [("a", 2), ("b", 5)]
    assert [row.line for row in bad.shown] == [3]
    assert (validation.items, validation.lines) == (2, 5)


def test_an_item_holds_the_request_and_its_estimate(file: Path) -> None:
    file.write_bytes(line("a"))
    item = validate(file)[0][0].items[0]
    assert decode_request(item.payload) == HttpRequest("/v1/x", b'{"n": 1}')
    assert item.tokens == 8


@pytest.mark.parametrize(
    ("data", "given_"), [(b"", "nothing"), (b"\n \r\n", "only blank lines")]
)
def test_an_input_without_lines_is_bad(file: Path, data: bytes, given_: str) -> None:
    file.write_bytes(data)
    assert str(validate(file)[1]) == (
        f"{file}: given {given_}, allowed at least one request"
    )


def test_a_limit_takes_the_first_good_lines_and_reads_no_further(file: Path) -> None:
    file.write_bytes(b"\n".join([b"bad", line("a"), line("b"), b"bad"]))
    batches, bad, _ = validate(file, InputRules(max_items=2))
    assert placed(batches) == [("a", 2), ("b", 3)]
    assert bad.count == 1


def test_the_first_twenty_bad_lines_are_shown_and_all_are_counted(file: Path) -> None:
    file.write_bytes(b"bad\n" * 1234)
    _, bad, _ = validate(file)
    rows = str(bad).splitlines()
    assert bad.count == 1234
    assert rows[19].startswith(f"{file}:20: ")
    assert rows[20:] == ["and 1,214 more"]


def test_every_bad_line_can_be_had(file: Path) -> None:
    async def main() -> None:
        async with opened(str(file)) as source:
            bad = BadLines(found.append)
            list(Validation(source, InputRules(), tokens, bad).batches())

    found: list[BadLine] = []
    file.write_bytes(b"bad\n" * 1234)
    asyncio.run(main())
    assert [row.line for row in found] == list(range(1, 1235))


def test_a_long_line_is_bad_and_its_neighbours_are_not(file: Path) -> None:
    file.write_bytes(b"\n".join([line("a"), line("b" * 200), line("c")]))
    batches, bad, _ = validate(file, InputRules(max_line_bytes=100))
    assert placed(batches) == [("a", 1), ("c", 3)]
    assert [row.line for row in bad.shown] == [2]


def test_a_double_name_is_bad_where_it_stands_again(file: Path) -> None:
    file.write_bytes(b"\n".join([line("a"), b"", line("b"), line("a"), line("c")]))
    intake, bad, total = stored(file)
    assert (list(intake.names), total) == (["a", "b", "c"], 3)
    assert str(bad) == (
        f'{file}:4: custom_id: given "a" again, allowed each custom_id once'
    )


def test_a_whole_file_twice_costs_no_square(file: Path) -> None:
    once = b"".join(line(str(n)) + b"\n" for n in range(3000))
    file.write_bytes(once + once)
    intake, bad, total = stored(file)
    assert (total, bad.count) == (3000, 3000)
    assert intake.offered < 3000 * 30


@pytest.mark.slow
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_the_first_of_each_name_is_stored_in_order(names: list[str]) -> None:
    with scratch(b"\n".join(line(name) for name in names)) as path:
        intake, bad, total = stored(path)
    assert list(intake.names) == list(dict.fromkeys(names))
    assert total + bad.count == len(names)


@pytest.mark.slow
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_doubles_are_found_without_a_store_and_told_in_the_same_words(
    names: list[str],
) -> None:
    async def main(path: Path) -> tuple[int, BadLines]:
        bad = BadLines()
        async with opened(str(path)) as source:
            return examine(source, InputRules(), bad), bad

    with scratch(b"\n".join(line(name) for name in names)) as path:
        _, expected, total = stored(path)
        found, bad = asyncio.run(main(path))
    assert (found, bad.count, str(bad)) == (total, expected.count, str(expected))


def test_what_is_no_text_is_refused_as_a_whole(file: Path) -> None:
    file.write_bytes("{}".encode("utf-16"))
    with pytest.raises(InputError, match="UTF-16"):
        validate(file)


@contextmanager
def scratch(data: bytes) -> Iterator[Path]:
    with NamedTemporaryFile() as out:
        out.write(data)
        out.flush()
        yield Path(out.name)
