"""What clients see of batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from batch_building import CHAT, INPUT, a_line
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.openai.batchfiles import NewFile
from headrace.service.openai.filestore import FileStore
from service_building import client_of, opened

Main = Callable[[httpx2.AsyncClient, Service], Awaitable[Any]]
GOOD = {"input_file_id": INPUT, "endpoint": CHAT, "completion_window": "24h"}
FIELDS = (
    *("id", "object", "endpoint", "input_file_id", "completion_window", "status"),
    *("created_at", "errors", "output_file_id", "error_file_id", "in_progress_at"),
    *("expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at"),
    *("cancelling_at", "cancelled_at", "request_counts", "metadata", "model", "usage"),
)


async def upload(service: Service, data: bytes, **facts: Any) -> None:
    """Keep an input, as an upload would."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    store = service.home.store
    files = FileStore(store.documents(), service.files, service.clock)
    new = {"id": INPUT, "tenant": "", "filename": "in.jsonl", "purpose": "batch"}
    await files.put(NewFile(**{**new, **facts}), chunks())


def asked(main: Main, data: bytes = b"{") -> Any:
    """Run a test with a client of a service that has one input."""

    async def run() -> Any:
        async with opened() as service, client_of(make_app(service)) as client:
            await upload(service, data)
            return await main(client, service)

    return asyncio.run(run())


def refused(body: dict[str, Any]) -> tuple[int, str | None, str | None]:
    """Return how a create is refused: status, code and param."""

    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        return await client.post("/v1/batches", json=body)

    answer = asked(main)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


async def ended(client: httpx2.AsyncClient, id: str) -> Any:
    """Wait for a batch's end."""
    while True:
        batch = (await client.get(f"/v1/batches/{id}")).json()
        if batch["status"] in ("failed", "completed", "cancelled", "expired"):
            return batch
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_created_batch_is_validating_and_every_field_is_there(prefix: str) -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        body = {**GOOD, "metadata": {"a": "b"}, "priority": "low", "odd": 1}
        return await client.post(f"{prefix}/batches", json=body)

    answer = asked(main)
    batch = answer.json()
    assert (answer.status_code, batch["status"]) == (200, "validating")
    assert set(FIELDS) <= set(batch)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert (batch["metadata"], batch["priority"]) == ({"a": "b"}, "low")
    assert batch["expires_at"] == batch["created_at"] + 86_400
    times = [k for k in batch if k.endswith("_at")]
    assert {k for k in times if batch[k]} == {"created_at", "expires_at"}


def test_errors_of_the_input_arrive_with_their_lines() -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> Any:
        made = (await client.post("/v1/batches", json=GOOD)).json()
        return await ended(client, made["id"])

    batch = asked(main, a_line("a") + b"{\n")
    assert batch["status"] == "failed"
    assert batch["errors"]["object"] == "list"
    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"]) == ("invalid_json_line", 2)
    assert error["message"].startswith("This line is not parseable as valid JSON.")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"input_file_id": None}, (400, "invalid_value", "input_file_id")),
        ({"input_file_id": "file-no"}, (404, "file_not_found", "input_file_id")),
        ({"input_file_id": "../x\0"}, (404, "file_not_found", "input_file_id")),
        ({"endpoint": "chat"}, (400, "invalid_value", "endpoint")),
        ({"endpoint": "/v1//x"}, (400, "invalid_value", "endpoint")),
        ({"completion_window": "soon"}, (400, "invalid_value", "completion_window")),
        ({"metadata": {"k" * 65: "v"}}, (400, "invalid_value", None)),
        ({"metadata": {"k": "v" * 513}}, (400, "invalid_value", "metadata.k")),
        ({"metadata": {str(n): "" for n in range(17)}}, (400, "invalid_value", None)),
        ({"priority": "now"}, (400, "invalid_value", "priority")),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            (400, "invalid_value", "output_expires_after.seconds"),
        ),
    ],
)
def test_what_is_wrong_with_a_create_is_named(
    changes: dict[str, Any], wanted: tuple[int, str, str | None]
) -> None:
    status, code, param = refused({**GOOD, **changes})
    assert (status, code) == wanted[:2]
    assert wanted[2] in (None, param)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key != name}
    assert refused(rest) == (400, "missing_required_parameter", name)


def test_a_file_of_another_purpose_is_refused() -> None:
    async def main(client: httpx2.AsyncClient, service: Service) -> httpx2.Response:
        await upload(service, b"", id="file-x", purpose="assistants")
        body = {**GOOD, "input_file_id": "file-x"}
        return await client.post("/v1/batches", json=body)

    answer = asked(main)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input_file_id"


def test_what_has_ended_cannot_be_cancelled_and_the_client_need_not_ask_again() -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        made = (await client.post("/v1/batches", json=GOOD)).json()
        await ended(client, made["id"])
        return await client.post(f"/v1/batches/{made['id']}/cancel")

    answer = asked(main)
    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"] == {
        "message": "Cannot cancel a batch with status 'failed'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/batches/batch_no"),
        ("GET", "/v1/batches/%00"),
        ("POST", "/v1/batches/batch_no/cancel"),
        ("POST", "/v1/batches/batch_no/retry"),
        ("GET", "/v1/batches?after=batch_no"),
    ],
)
def test_an_unknown_batch_is_not_found(method: str, path: str) -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        return await client.request(method, path)

    answer = asked(main)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_list_is_paged_by_the_last_id() -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> tuple[list[str], ...]:
        made = [await client.post("/v1/batches", json=GOOD) for _ in range(3)]
        first = (await client.get("/v1/batches?limit=2")).json()
        assert (first["object"], first["has_more"]) == ("list", True)
        assert first["first_id"] == first["data"][0]["id"]
        path = f"/v1/batches?limit=2&after={first['last_id']}"
        second = (await client.get(path)).json()
        assert second["has_more"] is False
        listed = [batch["id"] for batch in first["data"] + second["data"]]
        return listed, [answer.json()["id"] for answer in made]

    listed, made = asked(main)
    assert listed == made[::-1]


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        return await client.get(f"/v1/batches?limit={limit}")

    answer = asked(main)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


def test_a_create_that_is_sent_again_makes_one_batch() -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> tuple[str, ...]:
        again = {"x-stainless-retry-count": "1"}
        first = await client.post("/v1/batches", json=GOOD)
        sent_again = await client.post("/batches", json=GOOD, headers=again)
        other = {**GOOD, "metadata": {"a": "b"}}
        another = await client.post("/v1/batches", json=other, headers=again)
        zero = {"x-stainless-retry-count": "0"}
        equal = await client.post("/v1/batches", json=GOOD, headers=zero)
        answers = (first, sent_again, another, equal)
        return tuple(answer.json()["id"] for answer in answers)

    first, sent_again, another, equal = asked(main)
    assert first == sent_again
    assert len({first, another, equal}) == 3
