"""What clients see of uploads: files that come in parts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.errors import NotFound
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.openai.uploadstore import PENDING_S, REMEMBERED_S
from service_building import client_of, opened, with_client

FIRST, SECOND = b'{"a":1}\n' * 200_000, b'{"b":2}\n' * 3
AGAIN = {"x-stainless-retry-count": "1"}
FIELDS = {
    *("id", "object", "bytes", "created_at", "expires_at", "filename", "purpose"),
    *("status", "file"),
}
Client = httpx2.AsyncClient


async def begun(client: Client, size: int, **more: Any) -> httpx2.Response:
    body = {
        "bytes": size,
        "filename": "in.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "batch",
    }
    headers = more.pop("headers", {})
    return await client.post("/v1/uploads", json=body | more, headers=headers)


async def begun_id(client: Client, size: int) -> str:
    id: str = (await begun(client, size)).json()["id"]
    return id


async def sent(client: Client, id: str, data: bytes, **more: Any) -> httpx2.Response:
    files = {"data": ("upload", data, "application/octet-stream")}
    return await client.post(f"/v1/uploads/{id}/parts", files=files, **more)


async def sent_id(client: Client, id: str, data: bytes) -> str:
    part: str = (await sent(client, id, data)).json()["id"]
    return part


async def completed(
    client: Client, id: str, *parts: str, **more: Any
) -> httpx2.Response:
    body = {"part_ids": parts, **more}
    return await client.post(f"/v1/uploads/{id}/complete", json=body)


async def cancelled(client: Client, id: str) -> httpx2.Response:
    return await client.post(f"/v1/uploads/{id}/cancel")


async def places_of(service: Service, id: str) -> list[bool]:
    """Return for each part of an upload whether its bytes are there."""
    found = await service.home.store.documents().documents(f"part/{id}")
    return [await service.files.size(each.id) is not None for each in found]


def with_service(main: Callable[[Service, Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened() as service, client_of(make_app(service)) as client:
            await main(service, client)

    asyncio.run(run())


def error_of(answer: httpx2.Response) -> tuple[int, str | None]:
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return answer.status_code, error["param"]


def test_parts_become_one_file_in_the_order_that_is_said() -> None:
    async def main(service: Service, client: Client) -> None:
        whole = FIRST + SECOND
        upload = (await begun(client, len(whole))).json()
        assert set(upload) == FIELDS
        assert (upload["status"], upload["file"]) == ("pending", None)
        assert upload["expires_at"] == upload["created_at"] + PENDING_S
        id = upload["id"]
        second = (await sent(client, id, SECOND)).json()
        assert (second["object"], second["upload_id"]) == ("upload.part", id)
        first = await sent_id(client, id, FIRST)
        md5 = hashlib.md5(whole).hexdigest()
        done = (await completed(client, id, first, second["id"], md5=md5)).json()
        assert set(done) == FIELDS
        file = done["file"]
        assert (done["status"], file["object"]) == ("completed", "file")
        assert (file["bytes"], file["purpose"]) == (len(whole), "batch")
        assert file["expires_at"] == file["created_at"] + 30 * 86_400
        assert (await client.get(f"/v1/files/{file['id']}")).json() == file
        content = await client.get(f"/v1/files/{file['id']}/content")
        assert content.content == whole
        assert await places_of(service, id) == []

    with_service(main)


def test_an_upload_of_nothing_is_an_empty_file() -> None:
    async def main(client: Client) -> None:
        done = await completed(client, await begun_id(client, 0))
        assert done.json()["file"]["bytes"] == 0

    with_client(main)


def test_completing_again_gives_the_same_file() -> None:
    async def main(client: Client) -> None:
        id = await begun_id(client, 4)
        part, other = (
            await sent_id(client, id, b"1234"),
            await sent_id(client, id, b"4321"),
        )
        answers = await asyncio.gather(*(completed(client, id, part) for _ in range(4)))
        assert len({answer.text for answer in answers}) == 1
        assert (await completed(client, id, part)).text == answers[0].text
        assert len((await client.get("/v1/files")).json()["data"]) == 1
        assert (await completed(client, id, other)).status_code == 409

    with_client(main)


def test_of_two_who_complete_it_otherwise_at_once_one_does() -> None:
    async def main(client: Client) -> None:
        id = await begun_id(client, 4)
        parts = [await sent_id(client, id, data) for data in (b"1234", b"4321")]
        answers = await asyncio.gather(*(completed(client, id, part) for part in parts))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (file,) = (await client.get("/v1/files")).json()["data"]
        won = next(answer for answer in answers if answer.status_code == 200)
        assert won.json()["file"] == file

    with_client(main)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"bytes": -1}, "bytes"),
        ({"bytes": "x"}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"filename": "table.csv"}, "file"),
        ({"purpose": "party"}, "purpose"),
        ({"mime_type": None}, "mime_type"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 3_599}},
            "expires_after.seconds",
        ),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    async def main(client: Client) -> tuple[int, str | None]:
        size = fields.get("bytes", 1)
        more = {name: value for name, value in fields.items() if name != "bytes"}
        return error_of(await begun(client, size, **more))

    assert with_client(main) == (400, param)


def test_how_long_the_file_is_kept_may_be_said() -> None:
    async def main(client: Client) -> None:
        after = {"anchor": "created_at", "seconds": 3_600}
        id = (await begun(client, 0, expires_after=after)).json()["id"]
        file = (await completed(client, id)).json()["file"]
        assert file["expires_at"] == file["created_at"] + 3_600

    with_client(main)


def test_more_than_a_file_may_have_is_refused_at_once() -> None:
    async def main(client: Client) -> tuple[int, str | None]:
        return error_of(await begun(client, 4_001))

    assert with_client(main, max_file_bytes=4_000) == (413, "bytes")


def test_parts_may_be_larger_than_other_bodies() -> None:
    async def main(client: Client) -> int:
        id = await begun_id(client, 4_000)
        return (await sent(client, id, b"x" * 4_000)).status_code

    assert with_client(main, max_body_bytes=1_000) == 200


def test_parts_that_are_not_the_file_are_refused_and_may_be_mended() -> None:
    async def main(client: Client) -> None:
        id = await begun_id(client, 6)
        part, more = (
            await sent_id(client, id, b"1234"),
            await sent_id(client, id, b"56"),
        )
        other = await sent_id(client, await begun_id(client, 2), b"56")
        for parts in ((), (part,), (part, other), (part, "part_none"), (part, part)):
            assert error_of(await completed(client, id, *parts)) == (400, "part_ids")
        wrong = await completed(client, id, part, more, md5="0" * 32)
        assert error_of(wrong) == (400, "md5")
        assert (await client.get("/v1/files")).json()["data"] == []
        assert (await completed(client, id, part, more)).status_code == 200

    with_client(main)


def test_a_part_that_is_too_large_leaves_nothing() -> None:
    async def main(service: Service, client: Client) -> None:
        id = await begun_id(client, 5)
        assert error_of(await sent(client, id, b"123456")) == (400, "data")
        assert await places_of(service, id) == []

    with_service(main)


def test_parts_sent_again_have_a_bound() -> None:
    async def main(client: Client) -> None:
        id = await begun_id(client, 5)
        answers = [await sent(client, id, b"12345") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400]

    with_client(main)


def test_a_part_that_breaks_off_leaves_nothing() -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="data"; filename="a"'
        yield b"\r\n\r\n{}"

    async def main(service: Service, client: Client) -> None:
        id = await begun_id(client, 5)
        kind = {"content-type": "multipart/form-data; boundary=x"}
        path = f"/v1/uploads/{id}/parts"
        answer = await client.post(path, content=breaks_off(), headers=kind)
        assert answer.status_code == 400
        assert await places_of(service, id) == []

    with_service(main)


def test_a_form_without_data_is_refused() -> None:
    async def main(client: Client) -> tuple[int, str | None]:
        id = await begun_id(client, 5)
        path, files = f"/v1/uploads/{id}/parts", {"file": b"1"}
        return error_of(await client.post(path, files=files))

    assert with_client(main) == (400, "data")


def test_a_repeated_request_makes_nothing_twice() -> None:
    async def main(service: Service, client: Client) -> None:
        first = await begun(client, 4)
        again = await begun(client, 4, headers=AGAIN)
        assert again.json() == first.json()
        assert (await begun(client, 4)).json()["id"] != first.json()["id"]
        id = first.json()["id"]
        part = await sent(client, id, b"12")
        assert (await sent(client, id, b"12", headers=AGAIN)).json() == part.json()
        assert (await sent(client, id, b"12")).json()["id"] != part.json()["id"]
        assert len(await places_of(service, id)) == 2
        part_id = part.json()["id"]  # equal bytes may stand for both halves
        assert (await completed(client, id, part_id, part_id)).status_code == 200

    with_service(main)


def test_a_cancelled_upload_forgets_its_parts_and_takes_no_more() -> None:
    async def main(service: Service, client: Client) -> None:
        id = await begun_id(client, 4)
        part = await sent_id(client, id, b"1234")
        gone = await cancelled(client, id)
        assert gone.json()["status"] == "cancelled"
        assert await places_of(service, id) == []
        assert await service.files.size(part) is None
        assert (await cancelled(client, id)).json() == gone.json()
        for answer in (await sent(client, id, b"1"), await completed(client, id, part)):
            assert answer.status_code == 409
            assert answer.headers["x-should-retry"] == "false"

    with_service(main)


def test_a_completed_upload_is_not_cancelled() -> None:
    async def main(client: Client) -> None:
        id = await begun_id(client, 0)
        await completed(client, id)
        assert (await cancelled(client, id)).status_code == 409
        assert len((await client.get("/v1/files")).json()["data"]) == 1

    with_client(main)


def test_an_upload_cancelled_while_a_part_comes_keeps_none_of_it() -> None:
    async def main(service: Service, client: Client) -> None:
        id = await begun_id(client, 4)

        async def chunks() -> AsyncIterator[bytes]:
            yield b"12"
            await cancelled(client, id)
            yield b"34"

        with pytest.raises(Exception, match="'cancelled'"):
            await service.uploads.add(id, "part_x", None, chunks())
        assert await service.files.size("part_x") is None
        assert await places_of(service, id) == []

    with_service(main)


class Later:
    """The clock of a service, moved."""

    def __init__(self, service: Service) -> None:
        self._utc = service.clock.utc
        self.moved_s = 0.0

    def utc(self) -> float:
        return self._utc() + self.moved_s


def test_an_upload_whose_time_is_over_takes_no_more_and_is_forgotten() -> None:
    async def main(service: Service, client: Client) -> None:
        later = Later(service)
        service.uploads._clock = later  # type: ignore[assignment]
        id = await begun_id(client, 4)
        part = await sent_id(client, id, b"1234")
        later.moved_s = PENDING_S + 1
        for tidied in (False, True):
            if tidied:
                await service.uploads.tidy()
                assert await service.files.size(part) is None
            answer = await completed(client, id, part)
            assert answer.status_code == 409
            assert "'expired'" in answer.json()["error"]["message"]
        later.moved_s += REMEMBERED_S + 1
        await service.uploads.tidy()
        with pytest.raises(NotFound):
            await service.uploads.get(id, None)
        assert (await cancelled(client, id)).status_code == 404

    with_service(main)


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    store = str(tmp_path / "h.db")

    async def main() -> bytes:
        async with (
            opened(store=store) as service,
            client_of(make_app(service)) as client,
        ):
            id = await begun_id(client, len(FIRST + SECOND))
            first = await sent_id(client, id, FIRST)
        async with (
            opened(store=store) as service,
            client_of(make_app(service)) as client,
        ):
            second = await sent_id(client, id, SECOND)
            file = (await completed(client, id, first, second)).json()["file"]
            return (await client.get(f"/v1/files/{file['id']}/content")).content

    assert asyncio.run(main()) == FIRST + SECOND
    assert len(list((tmp_path / "h.db.files").iterdir())) == 1


@pytest.mark.parametrize("id", ["upload_none", "x" * 200, "%00"])
def test_an_unknown_upload_is_not_found(id: str) -> None:
    async def main(client: Client) -> list[int]:
        answers = [
            await sent(client, id, b"1"),
            await completed(client, id),
            await cancelled(client, id),
        ]
        return [answer.status_code for answer in answers]

    assert with_client(main) == [404] * 3
