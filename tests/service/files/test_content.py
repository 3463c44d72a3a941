"""The bytes of a file: whole, in parts, and when their place fails."""

from __future__ import annotations

import asyncio
import resource
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.errors import StoreError
from headrace.service.api import make_app
from headrace.service.openai.filecontent import ContentAnswer
from headrace.service.openai.ranges import part_of
from service_building import client_of, opened, with_client

DATA = bytes(range(256)) * 12_000  # three pieces


async def uploaded(client: httpx2.AsyncClient, data: bytes = DATA) -> str:
    """Upload a file; return the path of its content."""
    files = {"file": ("a.bin", data), "purpose": (None, "user_data")}
    answer = await client.post("/v1/files", files=files)
    return f"/v1/files/{answer.json()['id']}/content"


def asked(data: bytes = DATA, method: str = "GET", **headers: str) -> httpx2.Response:
    """Upload a file, and ask for its bytes with headers."""

    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        path = await uploaded(client, data)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(method, path, headers=sent)

    answer: httpx2.Response = with_client(main)
    return answer


@pytest.mark.parametrize(
    ("range", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-2000000", 1_000_000, 2_000_001),
        ("bytes=3000000-", 3_000_000, len(DATA)),
        ("bytes=3000000-99999999", 3_000_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("Bytes= 7-8 ", 7, 9),
    ],
)
def test_a_range_gives_its_bytes_only(range: str, start: int, end: int) -> None:
    answer = asked(range=range)
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "range", ["bytes=0-1,4-5", "lines=1-2", "bytes=5-3", "bytes=-", "x", "bytes=a-b"]
)
def test_what_is_no_single_range_gives_all(range: str) -> None:
    answer = asked(b"0123456789", range=range)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("data", "range"), [(b"0123", "bytes=4-"), (b"0123", "bytes=-0"), (b"", "bytes=0-")]
)
def test_a_range_of_no_byte_is_refused(data: bytes, range: str) -> None:
    answer = asked(data, range=range)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(data)}"
    assert answer.json()["error"]["code"] == "invalid_range"


def test_every_range_lies_within_the_file() -> None:
    for size in (1, 2, 5):
        for start in range(size):
            for end in range(start, size + 2):
                part = part_of(f"bytes={start}-{end}", size)
                assert part is not None
                assert (part.start, part.length) == (
                    start,
                    min(end, size - 1) - start + 1,
                )


def test_the_tag_of_a_file_says_that_a_client_has_it() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        path = await uploaded(client, b"0123")
        tag = (await client.get(path)).headers["etag"]
        known = await client.get(path, headers={"if-none-match": f'"x", W/{tag}'})
        assert (known.status_code, known.content) == (304, b"")
        for given, status in ((tag, 206), ('"other"', 200)):
            headers = {"range": "bytes=1-2", "if-range": given}
            assert (await client.get(path, headers=headers)).status_code == status

    with_client(main)


def test_head_tells_the_length_without_the_bytes() -> None:
    answer = asked(method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"]


def test_head_of_an_unknown_file_is_not_found() -> None:
    async def main(client: httpx2.AsyncClient) -> int:
        return (await client.head("/files/file-none/content")).status_code

    assert with_client(main) == 404


def test_an_empty_file_has_empty_content() -> None:
    answer = asked(b"")
    assert (answer.status_code, answer.content) == (200, b"")


# ---- when the place of the bytes fails


def with_place(tmp_path: Path, main: Callable[[httpx2.AsyncClient, Path], Any]) -> None:
    """Run a test with a client of a service whose files lie in a directory."""
    store = tmp_path / "h.db"

    async def run() -> None:
        async with (
            opened(store=str(store)) as service,
            client_of(make_app(service)) as client,
        ):
            await main(client, tmp_path / "h.db.files")

    asyncio.run(run())


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


FAILS = (503, "store_error")


def test_a_directory_that_is_gone_is_told_in_the_envelope(tmp_path: Path) -> None:
    async def main(client: httpx2.AsyncClient, place: Path) -> None:
        path = await uploaded(client)
        shutil.rmtree(place)
        assert told(await client.get(path)) == FAILS
        assert told(await client.delete(path.removesuffix("/content"))) == FAILS
        files = {"file": ("a", DATA), "purpose": (None, "evals")}
        assert told(await client.post("/v1/files", files=files)) == FAILS
        listed = await client.get("/v1/files")
        assert [f["purpose"] for f in listed.json()["data"]] == ["user_data"]

    with_place(tmp_path, main)


def test_bytes_that_somebody_else_removed_are_told_in_the_envelope(
    tmp_path: Path,
) -> None:
    async def main(client: httpx2.AsyncClient, place: Path) -> None:
        path = await uploaded(client)
        for file in place.iterdir():  # noqa: ASYNC240  a test may
            file.unlink()
        assert told(await client.get(path)) == FAILS
        gone = await client.delete(path.removesuffix("/content"))
        assert gone.json()["deleted"] is True

    with_place(tmp_path, main)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no file grow beyond two megabytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_told_in_the_envelope_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async def main(client: httpx2.AsyncClient, place: Path) -> None:
        files = {"file": ("a", DATA), "purpose": (None, "evals")}
        assert told(await client.post("/v1/files", files=files)) == FAILS
        assert (await client.get("/v1/files")).json()["data"] == []
        assert not list(place.iterdir())  # noqa: ASYNC240  a test may
        assert (await client.get(await uploaded(client, b"1"))).content == b"1"

    with_place(tmp_path, main)


def test_a_place_that_fails_half_way_cuts_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Any] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"0"
        raise StoreError("the disk is away")

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        answer = ContentAnswer(pieces(), 200, {"content-length": "2"})
        await answer({"type": "http"}, asyncio.Event().wait, send)

    asyncio.run(main())
    assert [message["body"] for message in sent[1:]] == [b"0"]
    assert sent[-1]["more_body"] is True
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert "the disk is away" in record.getMessage()
