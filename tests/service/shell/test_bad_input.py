"""Input that no client should send: each is refused with a clear error, none is a fault."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from headrace.service.api import make_app
from service_building import client_of, opened

JSON = {"content-type": "application/json"}
OPENAI = ("/v1/batches", "/v1/uploads", "/v1/chat/completions")
OWN = (
    "/api/v1/jobs/estimate",
    "/api/v1/endpoints",
    "/api/v1/keys",
    "/api/v1/admin/cleanup",
)
TAKE_JSON = (*OPENAI, *OWN)
Answer = httpx2.Response


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def client(loop: asyncio.AbstractEventLoop) -> Iterator[httpx2.AsyncClient]:
    """Give a client of a service that all tests share: none of them changes it."""

    async def serve() -> AsyncIterator[httpx2.AsyncClient]:
        async with opened() as service, client_of(make_app(service)) as found:
            yield found

    served = serve()
    yield loop.run_until_complete(anext(served))
    loop.run_until_complete(anext(served, None))


@pytest.fixture
def ask(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> Any:
    """Make a request."""

    def request(method: str, path: str, **given: Any) -> Answer:
        return loop.run_until_complete(client.request(method, path, **given))

    return request


def code(answer: Answer) -> tuple[int, str | None]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"]


# ---- bodies

UNREADABLE = {
    "cut": b'{"a":',
    "deep": b'{"a":' * 100_000,
    "no text": b'{"model":"\xff"}',
    "long number": b'{"a":' + b"9" * 5_000 + b"x}",
    "packed": gzip.compress(b"{}"),
}


@pytest.mark.parametrize("path", TAKE_JSON)
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_cannot_be_read_is_no_json(
    ask: Any, path: str, body: bytes
) -> None:
    assert code(ask("POST", path, content=body, headers=JSON)) == (400, "invalid_json")


@pytest.mark.parametrize("path", TAKE_JSON)
@pytest.mark.parametrize("body", [b"[1]", b"null", b'"x"', b"7", b""])
def test_a_body_that_is_no_object_is_refused(ask: Any, path: str, body: bytes) -> None:
    answer = ask("POST", path, content=body, headers=JSON)
    assert answer.status_code == (400 if path in OPENAI else 422)
    assert "body" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [*TAKE_JSON, "/api/v1/jobs", "/v1/files"])
def test_a_bomb_is_not_unpacked(ask: Any, path: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    headers = {**JSON, "content-encoding": "gzip"}
    answer = ask("POST", path, content=bomb, headers=headers)
    assert code(answer) == (415, "unsupported_encoding")


@pytest.mark.parametrize("path", TAKE_JSON)
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded"]
)
def test_a_body_of_another_type_is_refused(
    ask: Any, path: str, kind: str | None
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = ask("POST", path, content=b'{"a": 1}', headers=headers)
    assert code(answer) == (415, "unsupported_media_type")


def test_a_body_may_come_without_a_length(ask: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"ca', b'lls"', b":1}"):
            yield piece

    answer = ask("POST", "/api/v1/jobs/estimate", content=pieces(), headers=JSON)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"calls":"1"}', "calls"),
        (b'{"calls":true}', "calls"),
        (b'{"calls":1.5}', "calls"),
        (b'{"calls":NaN}', "calls"),
        (b'{"calls":1e400}', "calls"),
        (b'{"calls":1,"latency_s":NaN}', "latency_s"),
        (b'{"calls":1,"latency_s":Infinity}', "latency_s"),
        (b'{"calls":1,"model":"\\ud800"}', "model"),
        (b'{"calls":1,"odd":1}', "odd"),
    ],
)
def test_a_field_of_another_type_is_named(ask: Any, body: bytes, field: str) -> None:
    answer = ask("POST", "/api/v1/jobs/estimate", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == field


def test_a_whole_number_may_be_written_as_a_decimal(ask: Any) -> None:
    body = b'{"calls":5.0}'
    answer = ask("POST", "/api/v1/jobs/estimate", content=body, headers=JSON)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "item",
    [
        b'{"custom_id":"a","custom_id":"b","url":"/v1/x","body":{}}',
        b'{"custom_id":"\\ud800","url":"/v1/x","body":{}}',
        b'{"custom_id":7,"url":"/v1/x","body":{}}',
        b'{"custom_id":"a","url":"//evil/x","body":{}}',
        b'{"custom_id":"a","url":"/v1/x","body":[]}',
    ],
)
def test_an_item_that_is_none_is_refused(ask: Any, item: bytes) -> None:
    answer = ask("POST", "/api/v1/jobs", content=b"[" + item + b"]", headers=JSON)
    assert answer.status_code == 400
    assert code(answer)[1] in ("invalid_item", "invalid_json")


# ---- queries and paths

LISTS = ("/v1/files", "/v1/batches", "/api/v1/jobs")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1e400", "9" * 5_000, "", "\x00"])
def test_a_limit_that_is_none_is_refused(ask: Any, path: str, limit: str) -> None:
    answer = ask("GET", path, params={"limit": limit})
    assert answer.status_code == (400 if path.startswith("/v1") else 422)
    assert answer.json()["error"]["param"] == "limit"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("after", ["unknown", "\x00", "é" * 30])
def test_a_list_does_not_go_on_after_what_is_not_there(
    ask: Any, path: str, after: str
) -> None:
    assert ask("GET", path, params={"after": after}).status_code == 404


@pytest.mark.parametrize("id", ["%00", "%FF%FE", "%ED%A0%80", "x" * 5_000, "%2F"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/api/v1/jobs"])
def test_an_id_that_cannot_be_is_not_found(ask: Any, path: str, id: str) -> None:
    answer = ask("GET", f"{path}/{id}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


# ---- forms


def form(*parts: bytes, boundary: bytes = b"b") -> dict[str, Any]:
    """Return a form as it is sent."""
    kind = b"multipart/form-data; boundary=" + boundary
    body = b"".join(b"--b\r\ncontent-disposition: form-data; " + p for p in parts)
    return {"content": body + b"--b--\r\n", "headers": {"content-type": kind}}


PURPOSE = b'name="purpose"\r\n\r\nevals\r\n'
FILE = b'name="file"; filename="a"\r\n\r\nx\r\n'
FORMS = {
    "a field twice": form(PURPOSE, PURPOSE, FILE),
    "a file twice": form(PURPOSE, FILE, FILE),
    "no file": form(PURPOSE),
    "no purpose": form(FILE),
    "a long boundary": form(PURPOSE, FILE, boundary=b"b" * 5_000),
    "another boundary": form(PURPOSE, FILE, boundary=b"c"),
    "nothing": form(boundary=b"c") | {"content": b""},
}


@pytest.mark.parametrize("sent", FORMS.values(), ids=FORMS)
def test_a_form_that_is_none_is_refused(ask: Any, sent: dict[str, Any]) -> None:
    assert ask("POST", "/v1/files", **sent).status_code == 400


def test_a_filename_may_be_any_text(ask: Any) -> None:
    odd = b'name="file"; filename="\xff\xed\xa0\x80"\r\n\r\nx\r\n'
    assert ask("POST", "/v1/files", **form(PURPOSE, odd)).status_code == 200


# ---- headers


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/jobs", "idempotency-key"),
        ("/v1/chat/completions", "x-headrace-priority"),
        ("/v1/chat/completions", "x-request-timeout"),
    ],
)
def test_a_header_that_is_no_text_is_no_fault(ask: Any, path: str, name: str) -> None:
    headers = {**JSON, name: b"\xff\xfe"}
    assert ask("POST", path, content=b"{}", headers=headers).status_code == 400
