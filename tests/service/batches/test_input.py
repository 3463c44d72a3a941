from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_building import CHAT, a_line
from headrace.errors import InputError
from headrace.jsonl.arriving import lines_of
from headrace.jsonl.reading import Lines, Oversized
from headrace.service.openai.batchinput import InputCheck, InputLimits


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, size: int = 7, max_line_bytes: int = 1_000) -> list[Lines]:
    """Read bytes that arrive in pieces of this size."""

    async def main() -> list[Lines]:
        pieces = _pieces(data, size)
        return [block async for block in lines_of("f", pieces, max_line_bytes)]

    return asyncio.run(main())


def check(data: bytes, limits: InputLimits = InputLimits()) -> InputCheck:
    """Check an input."""
    found = InputCheck(CHAT, limits)
    for block in read(data, 2**16, limits.max_line_bytes):
        found.take(block)
    found.end()
    return found


def problem(data: bytes, limits: InputLimits = InputLimits()) -> tuple[object, ...]:
    """Return code, param and line of the only thing that is wrong."""
    (found,) = check(data, limits).problems
    return found.code, found.param, found.line


@given(
    st.lists(st.binary(max_size=12).filter(lambda b: b"\n" not in b), max_size=8),
    st.integers(1, 9),
)
def test_lines_are_the_same_however_they_arrive(rows: list[bytes], size: int) -> None:
    data = b"x" + b"\n".join(rows)
    found = [line for block in read(data, size) for line in block.lines]
    wanted = data.split(b"\n")
    assert found == (wanted if wanted[-1] else wanted[:-1])


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_left_out_however_it_arrives(size: int) -> None:
    (block, *_) = read(b"\xef\xbb\xbfa\nb", size)
    assert block.lines[0] == b"a"


def test_a_line_that_is_too_long_is_measured_and_not_kept() -> None:
    found = [x for block in read(b"x" * 50 + b"\nb", 7, 10) for x in block.lines]
    assert found == [Oversized(50), b"b"]


def test_another_encoding_is_refused() -> None:
    with pytest.raises(InputError, match="UTF-16"):
        read("a\n".encode("utf-16"))


@pytest.mark.parametrize(
    "data",
    [
        a_line("a") + a_line("b"),
        b"\xef\xbb\xbf" + a_line("a") + a_line("b").rstrip(),
        a_line("a").replace(b"\n", b"\r\n") + b"\r\n\n  \n" + a_line("b"),
    ],
    ids=["plain", "mark and no last line feed", "CRLF and blank lines"],
)
def test_sound_lines_are_taken(data: bytes) -> None:
    found = check(data)
    assert found.problems == ()
    assert found.model == "m"


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{nonsense\n", "invalid_json_line", None),
        (b"[]\n", "invalid_json_line", None),
        (b"\xff\xfe{}\n".replace(b"\xff\xfe", b"\xff"), "invalid_json_line", None),
        (a_line("b", custom_id=None), "missing_required_parameter", "custom_id"),
        (a_line("b", method=None), "missing_required_parameter", "method"),
        (a_line("b", body=None), "missing_required_parameter", "body"),
        (
            b'{"custom_id":"b","method":"POST","body":{}}\n',
            "missing_required_parameter",
            "url",
        ),
        (b'{"prompt":"hi"}\n', "unknown_parameter", "prompt"),
        (a_line("b", method="GET"), "invalid_method", "method"),
        (a_line(""), "invalid_custom_id", "custom_id"),
        (a_line("b", "/v1/embeddings"), "url_mismatch", "url"),
        (a_line("b", "//other.host/"), "invalid_url", "url"),
        (a_line("b", model="other"), "model_mismatch", "body.model"),
        (a_line("b", body={"model": 3}), "invalid_model", "body.model"),
        (a_line("b", body=[]), "invalid_body", "body"),
        (
            a_line("b", body={"model": "m", "stream": True}),
            "unsupported_parameter",
            "body.stream",
        ),
    ],
)
def test_each_thing_that_is_wrong_has_its_code(
    line: bytes, code: str, param: str | None
) -> None:
    assert problem(a_line("a") + b"\n" + line) == (code, param, 3)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_input_without_a_request_is_empty(data: bytes) -> None:
    assert problem(data) == ("empty_file", None, None)


def test_a_line_that_is_too_long_is_named() -> None:
    data = a_line("a") + b"x" * 500
    limits = InputLimits(max_line_bytes=200)
    assert problem(data, limits) == ("line_too_large", None, 2)


def test_more_requests_than_may_be_are_refused_as_a_whole() -> None:
    data = b"".join(a_line(str(n)) for n in range(4))
    assert problem(data, InputLimits(max_lines=3)) == ("too_many_tasks", None, None)
    assert check(data, InputLimits(max_lines=4)).problems == ()


def test_after_many_errors_the_rest_is_not_checked() -> None:
    found = check(b"x\n" * 10_000)
    assert found.is_full
    assert len(found.problems) == 100
    assert found.problems[-1].code == "too_many_errors"


def test_lines_that_name_no_model_belong_to_any() -> None:
    data = a_line("a", body={}) + a_line("b") + a_line("c", body={})
    assert check(data).problems == ()
