"""Streamed replies against real servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headrace.errors import Interrupted, Overloaded
from headrace.model import Reply, Usage
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider

pytestmark = pytest.mark.live

REFUSAL = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def saying(data: bytes) -> Any:
    async def talk(peer: Any) -> None:
        await peer.request()
        await peer.send(data)

    return talk


EVENTS = [
    b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n',
    b'data: {"choices":[],"usage":{"prompt_to',
    b'kens":3,"completion_tokens":4}}\n\ndata: [DONE]\n\n',
]


def chunked(*parts: bytes, whole: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head + body + (b"0\r\n\r\n" if whole else b"")


def stream(raw_server: Any, call: Any, request: Any, talk: Any, use: Any) -> Any:
    async def main() -> Any:
        via = HttpProvider(dialect_named("openai"), lambda _: None)
        try:
            async with raw_server(talk) as server:
                return await use(await via.send(call(request), server.endpoint))
        finally:
            await via.close()

    return asyncio.run(main())


@pytest.fixture
def streamed(raw_server: Any, call: Any, chat_request: Any) -> Callable[..., Any]:
    request = chat_request(b'{"stream": true}')
    return lambda talk, use: stream(raw_server, call, request, talk, use)


def test_a_streamed_reply_gives_its_chunks_and_then_its_tokens(streamed: Any) -> None:
    async def use(reply: Reply) -> tuple[bytes, Usage | None]:
        assert reply.chunks is not None
        return b"".join([chunk async for chunk in reply.chunks]), reply.usage

    assert streamed(saying(chunked(*EVENTS)), use) == (b"".join(EVENTS), Usage(3, 4))


def test_a_stream_that_breaks_before_its_first_byte_fails_the_call(
    streamed: Any,
) -> None:
    async def use(reply: Reply) -> None:
        raise AssertionError("there must be no reply")

    with pytest.raises(Interrupted):
        streamed(saying(chunked(whole=False)), use)


def test_a_stream_that_breaks_later_fails_there(streamed: Any) -> None:
    async def use(reply: Reply) -> list[bytes]:
        assert reply.chunks is not None
        got = [await anext(reply.chunks)]
        while sum(map(len, got)) < len(b"".join(EVENTS)):
            got.append(await anext(reply.chunks))
        with pytest.raises(Interrupted):
            await anext(reply.chunks)
        return got

    got = streamed(saying(chunked(*EVENTS, whole=False)), use)
    assert b"".join(got) == b"".join(EVENTS)


@pytest.mark.parametrize("read", [0, 1])
def test_closing_a_stream_early_closes_the_connection(streamed: Any, read: int) -> None:
    told: list[int] = []
    done = asyncio.Event()

    async def talk(peer: Any) -> None:
        await peer.request()
        await peer.send(chunked(EVENTS[0], whole=False))
        told.append(await peer.gone())
        done.set()

    async def use(reply: Reply) -> None:
        assert reply.chunks is not None
        for _ in range(read):
            await anext(reply.chunks)
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(1):
            await done.wait()

    streamed(talk, use)
    assert told == [0]


def test_a_refusal_of_a_stream_is_an_ordinary_error(streamed: Any) -> None:
    async def use(reply: Reply) -> None:
        raise AssertionError("there must be no reply")

    with pytest.raises(Overloaded):
        streamed(saying(REFUSAL), use)
