"""Streamed answers pass byte for byte, and a client that leaves ends its call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from headrace.service.api import make_app
from headrace.service.core import ROUTE, Service
from service_building import opened
from upstreams import Answer, Asked, Upstream, upstream

pytestmark = pytest.mark.live

EVENTS = (b'data: {"a": 1.50}\n\nda', b'ta: {"b":"\xc3', b'\xa4"}\r\n\r\n', b": x\n\n")
END = b"data: [DONE]\n\n"


class Client:
    """A client that speaks ASGI: what it was sent, and when it leaves."""

    def __init__(self, app: FastAPI, body: dict[str, Any]) -> None:
        self._app = app
        self._body = json.dumps(body).encode()
        self._asked = False
        self.leaving = asyncio.Event()
        self.started = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []

    async def ask(self) -> None:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message["headers"]
            self.headers = {n.decode(): v.decode() for n, v in pairs}
        elif message.get("body"):
            self.chunks.append(message["body"])
            self.started.set()


Main = Callable[[Client, Upstream, Service], Awaitable[Any]]


def streamed(answer: Answer, main: Main, **changes: Any) -> Any:
    """Run a test with a client that asks for a stream (or not: `stream=False`)."""
    body = {"model": "m", "stream": changes.pop("stream", True)}

    async def run() -> Any:
        async with (
            upstream(answer) as there,
            opened(base_url=(there.url,), **changes) as service,
        ):
            return await main(Client(make_app(service), body), there, service)

    return asyncio.run(run())


def in_flight(service: Service) -> int:
    return sum(view.in_flight for view in service.home.endpoints(ROUTE).views())


def hanging(*chunks: bytes) -> tuple[Answer, asyncio.Event]:
    """Return an answer that never ends, and the event that its asker has left."""
    left = asyncio.Event()

    async def answer(request: Asked) -> None:
        if chunks:
            await request.stream(*chunks)
        await request.wait_left()
        left.set()

    return answer, left


def test_a_stream_passes_byte_for_byte() -> None:
    async def answer(request: Asked) -> None:
        await request.stream(*EVENTS, END, headers="x-ratelimit-limit-tokens: 9\r\n")
        await request.end()

    async def main(client: Client, _: Upstream, service: Service) -> Client:
        await client.ask()
        assert in_flight(service) == 0
        return client

    client = streamed(answer, main)
    assert (client.status, b"".join(client.chunks)) == (200, b"".join(EVENTS) + END)
    assert client.headers["content-type"] == "text/event-stream"
    assert client.headers["x-ratelimit-limit-tokens"] == "9"


def test_a_stream_is_passed_on_before_it_ends_and_holds_its_permit() -> None:
    async def main(client: Client, _: Upstream, service: Service) -> int:
        asking = asyncio.create_task(client.ask())
        await client.started.wait()
        held = in_flight(service)
        client.leaving.set()
        await asking
        return held

    assert streamed(hanging(EVENTS[0])[0], main) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_the_answer_ends_its_call(stream: bool) -> None:
    answer, left = hanging()

    async def main(client: Client, there: Upstream, service: Service) -> None:
        asking = asyncio.create_task(client.ask())
        await there.came.wait()
        client.leaving.set()
        await asking
        assert in_flight(service) == 0
        async with asyncio.timeout(2):
            await left.wait()

    streamed(answer, main, stream=stream)


def test_a_client_that_leaves_within_a_stream_ends_its_call() -> None:
    answer, left = hanging(EVENTS[0])

    async def main(client: Client, there: Upstream, service: Service) -> None:
        asking = asyncio.create_task(client.ask())
        await client.started.wait()
        client.leaving.set()
        await asking
        assert in_flight(service) == 0
        async with asyncio.timeout(2):
            await left.wait()

    streamed(answer, main)


def test_a_stream_is_tried_again_before_its_first_byte() -> None:
    async def answer(request: Asked) -> None:
        if request.headers["x-client-request-id"].endswith("-1"):
            await request.reply(b"{}", 500)
        else:
            await request.stream(END)
            await request.end()

    async def main(client: Client, there: Upstream, _: Service) -> tuple[int, int]:
        await client.ask()
        return client.status, len(there.asked)

    assert streamed(answer, main) == (200, 2)


def test_a_refused_stream_is_answered_as_any_call() -> None:
    async def answer(request: Asked) -> None:
        await request.reply(b'{"error":{"message":"no"}}', 400)

    async def main(client: Client, _: Upstream, __: Service) -> Client:
        await client.ask()
        return client

    client = streamed(answer, main)
    assert (client.status, client.headers["content-type"]) == (400, "application/json")


def test_a_stream_that_breaks_off_says_so_in_its_last_event() -> None:
    async def answer(request: Asked) -> None:
        await request.stream(EVENTS[0])
        await asyncio.sleep(0.05)
        request.drop()

    async def main(client: Client, there: Upstream, _: Service) -> bytes:
        await client.ask()
        assert len(there.asked) == 1
        return b"".join(client.chunks)

    got = streamed(answer, main)
    last = got.removeprefix(EVENTS[0]).strip()
    assert last.startswith(b'data: {"error":{"message":')
    assert b'"code":"connection_lost"' in last
