"""Connections are kept, used again, and replaced when they broke in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.errors import Interrupted
from headrace.model import Endpoint
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider
from headrace.wire import HttpRequest

pytestmark = pytest.mark.live

ANSWER = b'{"id":"c"}'


def provider(dialect: str = "openai") -> HttpProvider:
    return HttpProvider(dialect_named(dialect), lambda _: None)


async def answer_once(peer: Any) -> None:
    await peer.request()
    await peer.answer(ANSWER)
    await peer.gone()


async def once_then_gone(peer: Any) -> None:
    """Answer one call, then break the connection as the second one comes."""
    await peer.request()
    await peer.answer(ANSWER)
    await peer.head()


def two_calls(raw_server: Any, call: Any, request: Any, **options: Any) -> int:
    repeatable = options.pop("repeatable", True)

    async def main() -> int:
        via = provider(**options)
        try:
            async with raw_server(once_then_gone) as server:
                for _ in range(2):
                    await via.send(
                        call(request, repeatable=repeatable), server.endpoint
                    )
                return int(server.connections)
        finally:
            await via.close()

    return asyncio.run(main())


def test_a_reused_connection_that_breaks_is_replaced_at_once(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    assert two_calls(raw_server, call, chat_request()) == 2


def test_a_call_that_may_not_be_repeated_is_not(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    with pytest.raises(Interrupted):
        two_calls(raw_server, call, chat_request(), dialect="http", repeatable=False)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_new_connection_that_breaks_is_not_replaced(
    raw_server: Any, call: Any, method: str
) -> None:
    async def talk(peer: Any) -> None:
        await peer.request()

    async def main() -> None:
        via = provider(dialect="http")
        async with raw_server(talk) as server:
            with pytest.raises(Interrupted):
                await via.send(call(HttpRequest("/x", method=method)), server.endpoint)
            assert server.connections == 1
        await via.close()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_plain_http_too_replaces_a_reused_connection(
    raw_server: Any, call: Any, method: str
) -> None:
    request = HttpRequest("/x", method=method)
    assert two_calls(raw_server, call, request, dialect="http") == 2


def test_connections_are_kept_and_used_again(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    async def talk(peer: Any) -> None:
        while True:
            await peer.request()
            await peer.answer(ANSWER)

    async def main() -> None:
        via = provider()
        async with raw_server(talk) as server:
            for _ in range(20):
                await via.send(call(chat_request()), server.endpoint)
            assert server.connections == 1
            await via.close()

    asyncio.run(main())


def test_one_provider_serves_one_loop_after_another(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    via = provider()

    async def main() -> Any:
        async with raw_server(answer_once) as server:
            place = Endpoint("there", server.endpoint.base_url)
            return (await via.send(call(chat_request()), place)).status

    async def last() -> Any:
        try:
            return await main()
        finally:
            await via.close()

    assert [asyncio.run(main()), asyncio.run(last())] == [200, 200]
