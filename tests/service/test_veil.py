"""A tenant is never told where the provider is, whatever fails and wherever it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from headrace.errors import CallError, ErrorCode, TransientError
from headrace.model import Endpoint, Failure
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.keys import NewKey
from headrace.service.principal import Scope
from headrace.service.veil import NO_VEIL, Veil
from service_building import client_of, opened
from upstreams import Answer, Asked, upstream

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ITEM = {"custom_id": "a", "url": "/v1/chat/completions", "body": CHAT}
PLACE = "gpu-1.internal:8000"
VEIL = Veil((Endpoint("one", f"http://{PLACE}/v1"),))
HOSTS = ("127.0.0.1", "localhost")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (ErrorCode.CONNECT_FAILED, f"no connection to {PLACE}: ('10.0.0.7', 8000)"),
        (ErrorCode.CONNECTION_LOST, f"{PLACE} broke the connection"),
        (ErrorCode.TIMED_OUT, f"{PLACE} did not answer in time"),
        (ErrorCode.BAD_REPLY, f"{PLACE} answered with no valid HTTP"),
    ],
)
def test_what_the_connection_met_is_told_in_words_without_an_address(
    code: ErrorCode, message: str
) -> None:
    seen = VEIL.failure(Failure(code, message))
    assert "gpu-1" not in seen.message
    assert "10.0.0.7" not in seen.message
    assert NO_VEIL.failure(Failure(code, message)).message == message


def test_a_provider_speaks_for_itself_but_for_its_address() -> None:
    body = json.dumps({"error": {"message": f"see http://{PLACE}/v1/x"}}).encode()
    told = Failure(ErrorCode.BAD_CALL, f"HTTP 400: ask {PLACE} (gpu-11)", 400, body)
    seen = VEIL.failure(told)
    assert seen.message == "HTTP 400: ask the provider (gpu-11)"
    assert seen.body == b'{"error": {"message": "see the provider/x"}}'


def test_a_proxy_before_the_provider_is_not_heard() -> None:
    told = Failure(ErrorCode.OVERLOADED, "HTTP 503: <b>10.0.0.7</b>", 503, b"10.0.0.7")
    seen = VEIL.failure(told)
    assert (seen.message, seen.body) == ("HTTP 503: the provider failed", None)


def test_an_error_keeps_its_kind_and_status() -> None:
    error: CallError = TransientError(f"HTTP 500: {PLACE}", status=500, body=b"{}")
    assert VEIL.error(error) is error
    assert (error.status, error.message) == (500, "HTTP 500: the provider failed")


# ---- over HTTP

Main = Callable[[httpx2.AsyncClient, Service], Awaitable[Any]]


def as_tenant(main: Main, answer: Answer, *scopes: Scope) -> Any:
    """Run a test with the key of a tenant, before a provider that fails."""

    async def run() -> Any:
        async with (
            upstream(answer) as there,
            opened(base_url=(there.url,), max_attempts=1) as service,
            client_of(make_app(service)) as client,
        ):
            new = NewKey("acme", scopes or ("submit", "read"))
            key, _ = await service.keys.make(new)
            client.headers["authorization"] = f"Bearer {key}"
            return await main(client, service)

    return asyncio.run(run())


async def drop(request: Asked) -> None:
    request.drop()


async def proxied(request: Asked) -> None:
    await request.reply(b"<html>bad gateway at 127.0.0.1</html>", 502)


@pytest.mark.live
@pytest.mark.parametrize("answer", [drop, proxied])
@pytest.mark.parametrize("path", ["chat/completions", "models"])
def test_the_gateway_does_not_show_a_tenant_where_it_calls(
    path: str, answer: Answer
) -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> httpx2.Response:
        method, body = ("GET", None) if path == "models" else ("POST", CHAT)
        return await client.request(method, f"/v1/{path}", json=body)

    got = as_tenant(main, answer)
    assert got.status_code == 502
    assert not [host for host in HOSTS if host in f"{got.text}{got.headers}"]


@pytest.mark.live
def test_an_admin_is_shown_it() -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> str:
        return (await client.post("/v1/chat/completions", json=CHAT)).text

    assert "127.0.0.1" in as_tenant(main, drop, "admin")


@pytest.mark.live
@pytest.mark.parametrize("answer", [drop, proxied])
def test_no_page_of_a_job_shows_a_tenant_where_its_calls_went(answer: Answer) -> None:
    async def main(client: httpx2.AsyncClient, _: Service) -> str:
        job = (await client.post("/api/v1/jobs", json=[ITEM])).json()["id"]
        pages = ["/outcomes", "", "/items", "/items/0/attempts", "/why"]
        paths = [f"/api/v1/jobs/{job}{page}" for page in (*pages, "/events?items=true")]
        found = [
            await client.get(path) for path in paths
        ]  # outcomes: waits for its end
        assert [answer.status_code for answer in found] == [200] * len(paths)
        assert '"failed"' in found[2].text
        return "\n".join(answer.text for answer in found)

    told = as_tenant(main, answer)
    assert not [host for host in HOSTS if host in told]


@pytest.mark.live
@pytest.mark.parametrize("answer", [drop, proxied])
def test_no_error_file_shows_a_tenant_where_its_calls_went(answer: Answer) -> None:
    line = json.dumps({"method": "POST", **ITEM}).encode()

    async def main(client: httpx2.AsyncClient, _: Service) -> str:
        sent = {"files": {"file": ("a.jsonl", line)}, "data": {"purpose": "batch"}}
        file = (await client.post("/v1/files", **sent)).json()["id"]
        asked = {
            "input_file_id": file,
            "endpoint": ITEM["url"],
            "completion_window": "24h",
        }
        batch = (await client.post("/v1/batches", json=asked)).json()["id"]
        await client.get(f"/v1/batches/{batch}/events")  # until it has ended
        ended = (await client.get(f"/v1/batches/{batch}")).json()
        file = ended["error_file_id"]
        return ended["status"] + (await client.get(f"/v1/files/{file}/content")).text

    told = as_tenant(main, answer)
    assert told.startswith("completed")
    assert not [host for host in HOSTS if host in told]
