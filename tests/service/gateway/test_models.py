"""The models of all endpoints are listed as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from headrace.model import Endpoint
from headrace.service.api import make_app
from headrace.service.core import ROUTE, Service
from service_building import NOWHERE, client_of, opened, with_client
from upstreams import Answer, Asked, Upstream, upstream

Main = Callable[[httpx2.AsyncClient, Service, list[Upstream]], Awaitable[Any]]


def naming(*ids: str, **more: Any) -> Answer:
    """Return a provider that names these models."""
    body = json.dumps({"data": [{"id": id, **more} for id in ids]}).encode()

    async def answer(request: Asked) -> None:
        assert request.line.startswith("GET /v1/models ")
        await request.reply(body)

    return answer


def asked(answers: list[Answer], main: Main, **changes: Any) -> Any:
    """Run a test between a client and providers."""

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            there = [await stack.enter_async_context(upstream(a)) for a in answers]
            urls = (*(each.url for each in there), *changes.pop("also", ()))
            service = await stack.enter_async_context(opened(base_url=urls, **changes))
            app = make_app(service)
            client = await stack.enter_async_context(client_of(app))
            return await main(client, service, there)

    return asyncio.run(run())


async def listed(client: httpx2.AsyncClient) -> list[str]:
    answer = await client.get("/v1/models")
    assert answer.status_code == 200, answer.text
    return [model["id"] for model in answer.json()["data"]]


@pytest.mark.live
def test_the_list_is_the_union_and_has_each_model_once() -> None:
    async def main(client: httpx2.AsyncClient, *_: Any) -> list[str]:
        return await listed(client)

    found = asked([naming("a", "b"), naming("b", "c")], main)
    assert sorted(found) == ["a", "b", "c"]


@pytest.mark.live
def test_a_model_is_found_by_its_name_and_is_whole() -> None:
    async def main(client: httpx2.AsyncClient, *_: Any) -> list[Any]:
        paths = ("/v1/models/org/a:1", "/models/org/a:1", "/v1/models/b")
        return [await client.get(path) for path in paths]

    one, same, other = asked([naming("org/a:1", created=None, root="r")], main)
    assert one.json() == same.json()
    assert one.json() == {
        "id": "org/a:1",
        "object": "model",
        "created": 0,
        "owned_by": "unknown",
        "root": "r",
    }
    assert (other.status_code, other.json()["error"]["code"]) == (
        404,
        "model_not_found",
    )


@pytest.mark.live
def test_an_answer_is_given_again_for_a_while() -> None:
    async def main(
        client: httpx2.AsyncClient, service: Service, there: list[Upstream]
    ) -> list[int]:
        counts = []
        for later_s in (0, 29, 31):
            service.models._asked_at -= later_s
            await asyncio.gather(listed(client), listed(client))
            counts.append(len(there[0].asked))
        return counts

    assert asked([naming("a")], main) == [1, 1, 2]


@pytest.mark.live
def test_an_endpoint_that_is_down_is_left_out() -> None:
    async def main(client: httpx2.AsyncClient, *_: Any) -> list[str]:
        return await listed(client)

    assert asked([naming("a")], main, also=(NOWHERE,)) == ["a"]


@pytest.mark.live
def test_an_endpoint_that_went_down_counts_with_what_it_said_last() -> None:
    is_up = True

    async def answer(request: Asked) -> None:
        if is_up:
            await naming("a")(request)
        else:
            await request.reply(b"{}", 503)

    async def main(
        client: httpx2.AsyncClient, service: Service, _: list[Upstream]
    ) -> list[list[str]]:
        nonlocal is_up
        first = await listed(client)
        is_up = False
        service.models._asked_at -= 60
        return [first, await listed(client)]

    assert asked([answer], main) == [["a"], ["a"]]


@pytest.mark.live
def test_a_new_endpoint_is_asked_at_once() -> None:
    async def main(
        client: httpx2.AsyncClient, service: Service, _: list[Upstream]
    ) -> list[str]:
        await listed(client)
        async with upstream(naming("b")) as other:
            service.home.endpoints(ROUTE).add(Endpoint("other", other.url, ""))
            return await listed(client)

    assert asked([naming("a")], main) == ["a", "b"]


def test_stated_models_are_listed_without_asking() -> None:
    async def main(client: httpx2.AsyncClient) -> list[str]:
        return await listed(client)

    endpoint = Endpoint("x", NOWHERE, models=("m", "l"))
    found = with_client(main, base_url=(), endpoint=(endpoint,))
    assert found == ["l", "m"]


@pytest.mark.live
@pytest.mark.parametrize("body", [b"[]", b"no json", b'{"data":7}', b'{"data":[7,{}]}'])
def test_a_list_that_is_none_is_no_fault_of_ours(body: bytes) -> None:
    async def answer(request: Asked) -> None:
        await request.reply(body)

    async def main(client: httpx2.AsyncClient, *_: Any) -> int:
        return (await client.get("/v1/models")).status_code

    assert asked([answer], main) == (200 if body.startswith(b'{"data":[') else 502)


def test_if_nobody_answers_it_is_a_bad_gateway() -> None:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.get("/v1/models")

    got = with_client(main)
    assert (got.status_code, got.json()["error"]["code"]) == (502, "connect_failed")
