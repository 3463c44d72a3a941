"""Which of the calls that wait goes first."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from headrace.service.api import make_app
from headrace.service.core import ROUTE, Service
from service_building import client_of, opened
from upstreams import Asked, upstream

pytestmark = pytest.mark.live


async def until_waiting(service: Service, count: int) -> None:
    """Wait until so many calls wait at the gate."""
    gate = service.home.direct.built(ROUTE).gate
    async with asyncio.timeout(5):
        while gate.waiting < count:  # noqa: ASYNC110  nothing tells when one has come
            await asyncio.sleep(0)


def order(*words: str | None) -> list[str]:
    """Let calls of these priorities wait in this order; return in which they go."""
    go_on = asyncio.Event()

    async def answer(request: Asked) -> None:
        await go_on.wait()
        await request.reply()

    async def main() -> list[str]:
        async with (
            upstream(answer) as there,
            opened(base_url=(there.url,), in_flight=1) as service,
            client_of(make_app(service)) as client,
        ):
            calls = [ask(client, "first", None)]
            await there.came.wait()
            for number, word in enumerate(words):
                calls.append(ask(client, str(word), word))
                await until_waiting(service, number + 1)
            go_on.set()
            await asyncio.gather(*calls)
            return [asked.body.decode().split('"')[-2] for asked in there.asked[1:]]

    return asyncio.run(main())


def ask(
    client: httpx2.AsyncClient, name: str, word: str | None
) -> asyncio.Task[httpx2.Response]:
    headers = {} if word is None else {"x-headrace-priority": word}
    body: dict[str, Any] = {"model": "m", "user": name}
    return asyncio.create_task(
        client.post("/v1/chat/completions", json=body, headers=headers)
    )


def test_the_urgent_overtake() -> None:
    assert order("low", "Urgent") == ["Urgent", "low"]


def test_without_a_word_a_call_goes_before_normal_ones() -> None:
    assert order("normal", None) == ["None", "normal"]
