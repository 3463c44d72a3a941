"""Checks over real sockets, as a route is served."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headrace.app import RouteTools, build_http_route
from headrace.clock import SystemClock
from headrace.events import unheard
from headrace.model import Limits
from headrace.routes import HttpRoute

pytestmark = [pytest.mark.live, pytest.mark.slow]

ANSWER = b'{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'


def test_an_endpoint_that_calls_have_cut_off_is_asked_for_its_models(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    checked: asyncio.Future[tuple[str, str]]

    async def failing(peer: Any) -> None:
        while True:
            line, headers, _ = await peer.request()
            if line.startswith("GET"):
                checked.set_result((line, headers["authorization"]))
            await peer.answer(b"{}", 500)

    async def well(peer: Any) -> None:
        while True:
            await peer.request()
            await peer.answer(ANSWER)

    async def main() -> None:
        nonlocal checked
        checked = asyncio.get_running_loop().create_future()
        async with raw_server(failing) as bad, raw_server(well) as good:
            pool = tuple(
                msgspec.structs.replace(
                    server.endpoint, name=name, limits=Limits(in_flight=8)
                )
                for name, server in (("bad", bad), ("good", good))
            )
            route = build_http_route(
                HttpRoute("r", pool), lambda _: "k", RouteTools(SystemClock(), unheard)
            )
            calls = [
                msgspec.structs.replace(call(chat_request(), tries=0), id=f"c{i}")
                for i in range(30)
            ]
            await asyncio.gather(*[route.built.handler(each) for each in calls])
            async with asyncio.timeout(8.0):
                line, key = await checked
            await route.close()
        assert (line, key) == ("GET /v1/models HTTP/1.1", "Bearer k")

    asyncio.run(main())
