"""A pool in which one endpoint answers nonsense: the other one takes its calls."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.app import RouteTools, build, unheard
from headrace.clock import SystemClock
from headrace.errors import CallError, ErrorCode
from headrace.model import Endpoint, Limits, Retry
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider

pytestmark = pytest.mark.live

ANSWER = b'{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
HTML = b"<html><body>Welcome to the hotel</body></html>"
CALLS = 20
Talk = Callable[[Any], Awaitable[None]]


def answering(body: bytes, status: int = 200, headers: str = "") -> Talk:
    async def talk(peer: Any) -> None:
        while True:
            await peer.request()
            await peer.answer(body, status, headers)

    return talk


def saying(data: bytes, times: int = 1) -> Talk:
    async def talk(peer: Any) -> None:
        await peer.request()
        for _ in range(times):
            await peer.send(data)

    return talk


FAULTS = {
    "a web page": answering(HTML, headers="Content-Type: text/html\r\n"),
    "no HTTP": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a wrong length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    "wrong limits": answering(
        ANSWER,
        headers="Retry-After: soon\r\nx-ratelimit-limit-requests: -5\r\n"
        "x-ratelimit-remaining-requests: many\r\nx-ratelimit-reset-requests: ?\r\n",
    ),
    "a redirect": answering(b"", 302, "Location: http://127.0.0.1:1/\r\n"),
    "an endless body": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n" + b"x" * 65_536, 99
    ),
    "a refused key": answering(b'{"error":{"message":"no"}}', 401),
}


async def outcomes_of(
    endpoints: tuple[Endpoint, ...], call: Any, request: Any
) -> tuple[list[Any], list[str]]:
    """Make calls at a pool; return what became of them and what is not given back."""
    via = HttpProvider(dialect_named("openai"), lambda _: "k", max_reply_bytes=100_000)
    built = build(via, endpoints, Retry(), 10.0, RouteTools(SystemClock(), unheard))
    made = [msgspec.structs.replace(call(request), id=f"c{i}") for i in range(CALLS)]
    for each in made:
        each.trace.tries = 0
    found = await asyncio.gather(
        *[built.handler(each) for each in made], return_exceptions=True
    )
    gate = built.gate
    kept = [site.endpoint.name for site in gate.sites if site.in_flight]
    kept += [site.endpoint.name for site in gate.sites if site.breaker.probe_out]
    await built.close()
    return found, kept + ["waits"] * gate.waiting


def named(server: Any, name: str) -> Endpoint:
    limits = Limits(in_flight=4)
    return msgspec.structs.replace(server.endpoint, name=name, limits=limits)


@pytest.mark.parametrize("fault", FAULTS)
def test_another_endpoint_answers_what_a_faulty_one_does_not(
    fault: str, raw_server: Any, call: Any, chat_request: Any
) -> None:
    async def main() -> None:
        async with (
            raw_server(FAULTS[fault]) as bad,
            raw_server(answering(ANSWER)) as good,
        ):
            pool = (named(bad, "bad"), named(good, "good"))
            found, kept = await outcomes_of(pool, call, chat_request())
        assert [each for each in found if isinstance(each, BaseException)] == []
        assert kept == []
        assert bad.connections > 0

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["a web page", "a redirect", "an endless body"])
def test_where_there_is_no_other_each_call_fails_and_says_why(
    fault: str, raw_server: Any, call: Any, chat_request: Any
) -> None:
    async def main() -> None:
        async with raw_server(FAULTS[fault]) as bad:
            found, kept = await outcomes_of((named(bad, "bad"),), call, chat_request())
        assert all(isinstance(each, CallError) for each in found)
        assert {each.code for each in found} == {ErrorCode.BAD_REPLY}
        assert kept == []

    asyncio.run(main())


def test_a_certificate_that_is_not_trusted_cuts_its_endpoint_off(
    tmp_path: Path, raw_server: Any, call: Any, chat_request: Any
) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"]
    made += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def main() -> None:
        async with (
            raw_server(FAULTS["a web page"], ssl=context) as bad,
            raw_server(answering(ANSWER)) as good,
        ):
            pool = (named(bad, "bad"), named(good, "good"))
            found, kept = await outcomes_of(pool, call, chat_request())
        assert [each for each in found if isinstance(each, BaseException)] == []
        assert kept == []

    asyncio.run(main())
