"""What clients see of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from headrace.service.api import make_app
from headrace.service.openai.filestore import FileFacts
from service_building import client_of, opened, with_client

FIELDS = {
    *("id", "object", "bytes", "created_at", "filename", "purpose", "status"),
    *("expires_at", "status_details"),
}


async def upload(
    client: httpx2.AsyncClient,
    data: bytes = b'{"a":1}\n',
    purpose: str = "batch",
    name: str = "in.jsonl",
    **more: str,
) -> httpx2.Response:
    files = {"file": (name, data, "application/octet-stream")}
    return await client.post(
        "/v1/files", data={"purpose": purpose, **more}, files=files
    )


def uploaded(**fields: Any) -> httpx2.Response:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await upload(client, **fields)

    answer: httpx2.Response = with_client(main)
    return answer


def test_a_file_comes_back_as_it_was_uploaded() -> None:
    data = bytes(range(256)) * 9_000

    async def main(client: httpx2.AsyncClient) -> None:
        made = (await upload(client, data)).json()
        assert set(made) == FIELDS
        assert (made["bytes"], made["status"]) == (len(data), "processed")
        assert made["expires_at"] == made["created_at"] + 30 * 86_400
        assert (await client.get(f"/v1/files/{made['id']}")).json() == made
        for path in ("/v1/files", "/files"):
            content = await client.get(f"{path}/{made['id']}/content")
            assert content.content == data
            assert content.headers["content-type"] == "application/octet-stream"

    with_client(main)


def test_the_file_may_come_before_the_purpose() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        b'{}\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n'
    )

    async def main(client: httpx2.AsyncClient) -> dict[str, Any]:
        kind = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/v1/files", content=body, headers=kind)
        found: dict[str, Any] = answer.json()
        return found

    found = with_client(main)
    assert (found["bytes"], found["filename"], found["purpose"]) == (
        2,
        "a.jsonl",
        "batch",
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "party"}, "purpose"),
        ({"name": "table.csv"}, "file"),
        ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
        (
            {
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "3599",
            },
            "expires_after.seconds",
        ),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, str], param: str) -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        answer = await upload(client, **fields)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert (await client.get("/v1/files")).json()["data"] == []

    with_client(main)


def test_a_form_without_a_file_or_a_purpose_is_refused() -> None:
    async def main(client: httpx2.AsyncClient) -> list[tuple[int, str]]:
        found = []
        for form in ({"data": {"purpose": "batch"}}, {"files": {"file": b"{}"}}):
            more = {} if "files" in form else {"files": {"other": b""}}
            answer = await client.post("/v1/files", **form, **more)
            found.append((answer.status_code, answer.json()["error"]["param"]))
        return found

    assert with_client(main) == [(400, "file"), (400, "purpose")]


def test_what_is_no_form_is_refused() -> None:
    async def main(client: httpx2.AsyncClient) -> tuple[int, int]:
        plain = await client.post("/v1/files", json={"purpose": "batch"})
        kind = {"content-type": "multipart/form-data; boundary=x"}
        broken = await client.post("/v1/files", content=b"--y\r\n", headers=kind)
        return plain.status_code, broken.status_code

    assert with_client(main) == (415, 400)


def test_a_file_that_is_larger_than_may_be_is_refused_and_gone() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        answer = await upload(client, b"x" * 5_000)
        assert answer.status_code == 413
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert (await client.get("/v1/files")).json()["data"] == []

    with_client(main, max_file_bytes=4_000)


def test_an_upload_that_breaks_off_leaves_nothing() -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"'
        yield b"\r\n\r\n{}"

    async def main() -> None:
        async with opened() as service, client_of(make_app(service)) as client:
            kind = {"content-type": "multipart/form-data; boundary=x"}
            answer = await client.post("/v1/files", content=breaks_off(), headers=kind)
            assert answer.status_code == 400
            documents = service.home.store.documents()
            assert await documents.documents("file") == []

    asyncio.run(main())


def test_lists_page_newest_first_and_filter() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        ids = [(await upload(client, name=f"{n}.jsonl")).json()["id"] for n in range(5)]
        other = (await upload(client, purpose="evals")).json()["id"]
        page = (await client.get("/v1/files?limit=2&purpose=batch")).json()
        assert [f["id"] for f in page["data"]] == [ids[4], ids[3]]
        assert (page["first_id"], page["last_id"]) == (ids[4], ids[3])
        assert page["has_more"] is True
        rest = (await client.get(f"/v1/files?after={ids[3]}&purpose=batch")).json()
        assert [f["id"] for f in rest["data"]] == [ids[2], ids[1], ids[0]]
        assert rest["has_more"] is False
        oldest = (await client.get("/v1/files?order=asc&limit=1")).json()
        assert oldest["data"][0]["id"] == ids[0]
        evals = (await client.get("/v1/files?purpose=evals")).json()
        assert [f["id"] for f in evals["data"]] == [other]

    with_client(main)


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "order=up", "limit=x"])
def test_a_wrong_page_is_refused(query: str) -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        answer = await client.get(f"/v1/files?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == query.partition("=")[0]

    with_client(main)


def test_a_deleted_file_is_gone() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        id = (await upload(client)).json()["id"]
        gone = await client.delete(f"/v1/files/{id}")
        assert gone.json() == {"id": id, "object": "file", "deleted": True}
        for method, path in (
            ("GET", id),
            ("GET", f"{id}/content"),
            ("DELETE", id),
            ("GET", "../../etc/passwd"),
        ):
            answer = await client.request(method, f"/v1/files/{path}")
            assert answer.status_code == 404
        assert (await client.get(f"/v1/files?after={id}")).status_code == 404

    with_client(main)


def test_a_repeated_upload_is_one_file_and_an_equal_one_is_two() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        first = (await upload(client)).json()
        again = await client.post(
            "/v1/files",
            data={"purpose": "batch"},
            files={"file": ("in.jsonl", b'{"a":1}\n', "application/octet-stream")},
            headers={"x-stainless-retry-count": "1"},
        )
        assert again.json() == first
        equal = (await upload(client)).json()
        assert equal["id"] != first["id"]
        listed = (await client.get("/v1/files")).json()["data"]
        assert len(listed) == 2

    with_client(main)


def test_a_file_whose_time_is_over_is_told_to_nobody_and_removed() -> None:
    async def main() -> None:
        async with opened() as service, client_of(make_app(service)) as client:
            id = (await upload(client)).json()["id"]
            store = service.filestore
            facts = await store.get(id, None)
            past = int(service.clock.utc()) - 1
            await store.publish(
                FileFacts(id, "", facts.filename, "batch", 1, past, past)
            )
            assert (await client.get(f"/v1/files/{id}")).status_code == 404
            assert await store.tidy(service.batches.inputs) == 1
            assert await service.files.size(id) is None

    asyncio.run(main())


def test_other_tenants_see_nothing_of_a_file() -> None:
    async def main() -> None:
        async with opened() as service, client_of(make_app(service)) as client:
            id = (await upload(client)).json()["id"]
            found, _ = await service.filestore.newest("other", None, None, 10)
            assert found == []
            assert await service.filestore.purpose(id, "other") is None

    asyncio.run(main())
