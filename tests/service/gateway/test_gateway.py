"""Calls of clients pass the gate and come back as they came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from headrace.service.openai.asking import deadline_of
from service_building import asking, with_client
from upstreams import Answer, Asked, Upstream, upstream

Main = Callable[[httpx2.AsyncClient, Upstream], Awaitable[Any]]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
REPLY = b'{"id":"c1", "usage":{"prompt_tokens":3,"completion_tokens":2}, "odd": 1.50}'


def asked(answer: Answer, main: Main, **changes: Any) -> Any:
    """Run a test between a client and a provider."""

    async def run() -> Any:
        async with (
            upstream(answer) as there,
            asking(base_url=(there.url,), **changes) as client,
        ):
            return await main(client, there)

    return asyncio.run(run())


async def answers(request: Asked) -> None:
    await request.reply(REPLY, headers="x-ratelimit-remaining-requests: 7\r\n")


async def chat(client: httpx2.AsyncClient, **options: Any) -> httpx2.Response:
    return await client.post("/v1/chat/completions", **{"json": CHAT, **options})


# ---- what passes


@pytest.mark.live
@pytest.mark.parametrize(
    "path", ["/chat/completions", "/completions", "/embeddings", "/responses"]
)
@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_call_goes_up_and_its_answer_comes_down_unchanged(
    prefix: str, path: str
) -> None:
    sent = b'{"model": "m",  "input":[1.50, "\xc3\xa4"]}'

    async def main(client: httpx2.AsyncClient, there: Upstream) -> None:
        got = await client.post(
            prefix + path, content=sent, headers={"content-type": "application/json"}
        )
        assert (got.status_code, got.content) == (200, REPLY)
        assert got.headers["x-ratelimit-remaining-requests"] == "7"
        assert there.asked[0].line == f"POST /v1{path} HTTP/1.1"
        assert there.asked[0].body == sent

    asked(answers, main)


@pytest.mark.live
def test_what_names_the_client_stays_here() -> None:
    async def main(client: httpx2.AsyncClient, there: Upstream) -> dict[str, str]:
        names = {"authorization": "Bearer sk-client", "cookie": "a=b", "x-api-key": "k"}
        await chat(client, headers=names)
        return there.asked[0].headers

    seen = asked(answers, main)
    assert not {"authorization", "cookie", "x-api-key"} & set(seen)


@pytest.mark.live
@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_passes_as_the_provider_said_it(status: int) -> None:
    body = b'{"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}'

    async def refuse(request: Asked) -> None:
        await request.reply(body, status, "x-request-id: up-1\r\n")

    async def main(client: httpx2.AsyncClient, there: Upstream) -> httpx2.Response:
        got = await chat(client)
        assert len(there.asked) == 1
        return got

    got = asked(refuse, main)
    assert (got.status_code, got.content) == (status, body)
    assert got.headers["x-upstream-request-id"] == "up-1"
    assert got.headers["x-request-id"].startswith("req_")


@pytest.mark.live
@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b'{"detail":"no"}'])
def test_a_refusal_without_an_envelope_is_put_into_one(body: bytes) -> None:
    async def refuse(request: Asked) -> None:
        await request.reply(body, 400)

    async def main(client: httpx2.AsyncClient, _: Upstream) -> httpx2.Response:
        return await chat(client)

    got = asked(refuse, main)
    assert got.status_code == 400
    assert set(got.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.live
def test_a_failure_that_passes_is_tried_again() -> None:
    async def fail_once(request: Asked) -> None:
        is_first = request.headers["x-client-request-id"].endswith("-1")
        await request.reply(b"{}" if is_first else REPLY, 500 if is_first else 200)

    async def main(client: httpx2.AsyncClient, there: Upstream) -> tuple[int, int]:
        return (await chat(client)).status_code, len(there.asked)

    assert asked(fail_once, main) == (200, 2)


@pytest.mark.live
def test_a_failure_that_stays_is_told_and_not_to_be_tried_again() -> None:
    async def fail(request: Asked) -> None:
        await request.reply(b"{}", 500)

    async def main(client: httpx2.AsyncClient, there: Upstream) -> httpx2.Response:
        return await chat(client)

    got = asked(fail, main, max_attempts=1)
    assert got.status_code == 500
    assert got.headers["x-should-retry"] == "false"


@pytest.mark.live
def test_an_answer_that_is_none_is_a_bad_gateway() -> None:
    async def babble(request: Asked) -> None:
        await request.reply(b"not json")

    async def main(client: httpx2.AsyncClient, _: Upstream) -> httpx2.Response:
        return await chat(client)

    got = asked(babble, main, max_attempts=1)
    assert (got.status_code, got.json()["error"]["code"]) == (502, "bad_reply")


# ---- what is asked of the gateway itself


def refused(**options: Any) -> tuple[int, str | None]:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.post("/v1/chat/completions", **options)

    got = with_client(main)
    return got.status_code, got.json()["error"]["code"]


JSON = {"content-type": "application/json"}
NO_JSON = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"a":1}x',
    b'{"a":"\xff"}',
    b'{"a":1},"path":"/v1/files"',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NO_JSON, ids=range(len(NO_JSON)))
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert refused(content=body, headers=JSON) == (400, "invalid_json")


def test_a_body_of_another_type_is_refused() -> None:
    assert refused(data={"a": "b"}) == (415, "unsupported_media_type")


def test_a_packed_body_is_refused() -> None:
    packed = {"content-encoding": "gzip", **JSON}
    assert refused(content=b"x", headers=packed) == (415, "unsupported_encoding")


def test_an_unknown_priority_is_refused() -> None:
    given = {"json": CHAT, "headers": {"x-headrace-priority": "soon"}}
    assert refused(**given) == (400, "invalid_priority")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_time_limit_that_is_none_is_refused(seconds: str) -> None:
    given = {"json": CHAT, "headers": {"x-request-timeout": seconds}}
    assert refused(**given) == (400, "invalid_timeout")


DEADLINES = [
    ({}, 600),
    ({"x-stainless-read-timeout": "2.5"}, 2.5),
    ({"x-stainless-timeout": "5"}, 6),
    ({"x-stainless-timeout": "0"}, 1),
    ({"x-stainless-read-timeout": "None"}, 600),
    ({"x-stainless-read-timeout": "-1", "x-stainless-timeout": "3"}, 4),
    ({"x-stainless-read-timeout": "2", "x-request-timeout": "9"}, 9),
    ({"x-request-timeout": "inf"}, 86_400),
]


@pytest.mark.parametrize(("headers", "seconds"), DEADLINES)
def test_the_time_limit_is_what_the_client_says(
    headers: dict[str, str], seconds: float
) -> None:
    assert deadline_of(headers, 600.0) == seconds


@pytest.mark.live
@pytest.mark.parametrize("header", ["x-stainless-read-timeout", "x-request-timeout"])
def test_a_call_ends_when_its_client_waits_no_longer(header: str) -> None:
    async def hang(request: Asked) -> None:
        await asyncio.Event().wait()

    async def main(client: httpx2.AsyncClient, _: Upstream) -> httpx2.Response:
        return await chat(client, headers={header: "0.1"})

    got = asked(hang, main)
    assert (got.status_code, got.json()["error"]["code"]) == (408, "request_timeout")


@pytest.mark.live
def test_when_as_many_wait_as_may_the_next_is_told_when_to_come_again() -> None:
    go_on = asyncio.Event()

    async def slow(request: Asked) -> None:
        await go_on.wait()
        await request.reply(REPLY)

    async def main(client: httpx2.AsyncClient, there: Upstream) -> list[Any]:
        first = asyncio.create_task(chat(client))
        await there.came.wait()
        others = [asyncio.create_task(chat(client)) for _ in range(3)]
        while sum(other.done() for other in others) < 2:
            await asyncio.wait(
                [other for other in others if not other.done()],
                return_when=asyncio.FIRST_COMPLETED,
            )
        go_on.set()
        return [await call for call in (first, *others)]

    found = asked(slow, main, in_flight=1, max_queued=1)
    full = [answer for answer in found if answer.status_code == 429]
    assert [answer.status_code for answer in found].count(200) == 2
    assert [answer.json()["error"]["type"] for answer in full] == [
        "rate_limit_error",
        "rate_limit_error",
    ]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in full)
