"""Every error comes in OpenAI's envelope, and every answer bears an id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from headrace.errors import NotFound, QueueFull, StoreError, WrongState
from headrace.service.api import make_app
from headrace.service.errors import ApiError
from service_building import client_of, opened, with_client

FIELDS = {"message", "type", "param", "code"}


class Form(BaseModel):
    count: int


def with_routes(app: FastAPI) -> FastAPI:
    """Give an application some routes that go wrong."""
    faults: dict[str, Exception] = {
        "api": ApiError(409, "no", code="taken", headers={"x-should-retry": "false"}),
        "gone": NotFound("there is no job 'x'"),
        "state": WrongState("ended", expected="queued", found="failed"),
        "full": QueueFull("too many wait", 2.2),
        "store": StoreError("disk full at /secret/path"),
        "bug": RuntimeError("secret"),
    }

    @app.get("/fault/{name}")
    async def fault(name: str) -> None:
        raise faults[name]

    @app.post("/form")
    async def form(form: Form) -> int:
        return form.count

    @app.post("/bytes")
    async def read(request: Request) -> int:
        return len(await request.body())

    return app


def asked(method: str, path: str, *, given: Any = None, **changes: Any) -> Any:
    async def run() -> httpx2.Response:
        async with opened(**changes) as service:
            app = with_routes(make_app(service))
            async with client_of(app) as client:
                return await client.request(method, path, **(given or {}))

    return asyncio.run(run())


ERRORS = [
    ("GET", "/nowhere", 404, "unknown_url"),
    ("DELETE", "/form", 405, "method_not_allowed"),
    ("GET", "/fault/api", 409, "taken"),
    ("GET", "/fault/gone", 404, "not_found"),
    ("GET", "/fault/state", 409, "wrong_state"),
    ("GET", "/fault/full", 429, "queue_full"),
    ("GET", "/fault/store", 503, "store_error"),
    ("GET", "/fault/bug", 500, "internal_error"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), ERRORS)
def test_each_error_has_the_four_fields_and_an_id(
    method: str, path: str, status: int, code: str
) -> None:
    answer = asked(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == FIELDS
    assert answer.headers["x-request-id"].startswith("req_")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_an_address_that_is_not_there_is_repeated() -> None:
    told = asked("GET", "/nowhere").json()["error"]["message"]
    assert told == "there is no GET /nowhere"


def test_a_method_that_is_not_allowed_names_those_that_are() -> None:
    assert asked("DELETE", "/form").headers["allow"] == "POST"


def test_a_full_queue_says_when_to_come_again() -> None:
    assert asked("GET", "/fault/full").headers["retry-after"] == "3"


def test_a_conflict_is_not_sent_again() -> None:
    assert asked("GET", "/fault/state").headers["x-should-retry"] == "false"


def test_a_wrong_field_is_named() -> None:
    answer = asked("POST", "/form", given={"json": {"count": "many"}})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "count"


def test_what_is_no_json_is_said_to_be_none() -> None:
    sent = {"content": b"{", "headers": {"content-type": "application/json"}}
    answer = asked("POST", "/form", given=sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("stated", [True, False])
def test_a_large_body_is_refused(stated: bool) -> None:
    body: Any = b"x" * 2_000 if stated else _pieces(b"x" * 1_000, 2)
    answer = asked("POST", "/bytes", given={"content": body}, max_body_bytes=1_024)
    assert answer.status_code == 413
    assert set(answer.json()["error"]) == FIELDS


def test_a_large_form_is_refused() -> None:
    sent = {
        "content": _pieces(b" " * 1_000, 2),
        "headers": {"content-type": "application/json"},
    }
    answer = asked("POST", "/form", given=sent, max_body_bytes=1_024)
    assert answer.status_code == 413


async def _pieces(piece: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    answer = asked("POST", "/bytes", given={"content": stuck()}, client_timeout=0.05)
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        408,
        "body_too_slow",
    )
    assert answer.headers["connection"] == "close"


def test_no_other_origin_is_allowed() -> None:
    async def ask(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.get("/nowhere", headers={"origin": "http://evil.example"})

    answer = with_client(ask)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_ids_differ() -> None:
    async def ask(client: httpx2.AsyncClient) -> set[str]:
        return {(await client.get("/x")).headers["x-request-id"] for _ in range(5)}

    assert len(with_client(ask)) == 5
