"""Calls over HTTP against real servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ConfigError,
    ErrorCode,
    Interrupted,
    Overloaded,
    PermanentError,
    Unauthorised,
    Unreachable,
)
from headrace.model import Endpoint, Quota, Reply, Usage
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider
from headrace.wire import HttpRequest

pytestmark = pytest.mark.live

ANSWER = b'{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'


def provider(dialect: str = "openai", key: str | None = "sk-1", **more: Any) -> Any:
    return HttpProvider(dialect_named(dialect), lambda _: key, **more)


@pytest.fixture
def ask(raw_server: Any, call: Any, chat_request: Any) -> Callable[..., Reply]:
    """Send one call to a server that speaks as `talk` says; return the reply."""

    def asked(talk: Any, request: Any = None, **options: Any) -> Reply:
        async def main() -> Reply:
            via = provider(**options)
            try:
                async with raw_server(talk) as server:
                    return await via.send(
                        call(request or chat_request()), server.endpoint
                    )
            finally:
                await via.close()

        return asyncio.run(main())

    return asked


def answering(*args: Any, **kwargs: Any) -> Any:
    async def talk(peer: Any) -> None:
        await peer.request()
        await peer.answer(*args, **kwargs)
        await peer.gone()

    return talk


def saying(data: bytes) -> Any:
    async def talk(peer: Any) -> None:
        await peer.request()
        await peer.send(data)

    return talk


def test_a_reply_carries_body_tokens_id_and_quotas(ask: Any) -> None:
    headers = "x-request-id: r1\r\nX-RateLimit-Remaining-Requests: 9\r\n"
    reply = ask(answering(ANSWER, headers=headers))
    assert reply.headers["x-ratelimit-remaining-requests"] == "9"
    reply.headers = None
    assert reply == Reply(
        ANSWER, None, Usage(3, 4), 200, "r1", (Quota("calls", None, 9, None),)
    )


def test_the_request_bears_key_id_and_headers(
    raw_server: Any, call: Any, chat_request: Any
) -> None:
    seen: list[Any] = []

    async def talk(peer: Any) -> None:
        seen.append(await peer.request())
        await peer.answer()

    async def main() -> None:
        via = provider()
        async with raw_server(talk) as server:
            place = Endpoint(
                "a", server.endpoint.base_url + "/v1", headers=(("A", "1"),)
            )
            request = chat_request(b'{"x": 1}', headers=(("B", "2"), ("Accept", "c/d")))
            await via.send(call(request, tries=3), place)
        await via.close()

    asyncio.run(main())
    line, headers, body = seen[0]
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert body == b'{"x": 1}'
    wanted = {
        "authorization": "Bearer sk-1",
        "x-client-request-id": "job-7-3",
        "content-type": "application/json",
        "accept": "c/d",
        "a": "1",
        "b": "2",
    }
    assert {name: headers.get(name) for name in wanted} == wanted


def test_plain_http_takes_any_method_query_and_no_body(ask: Any) -> None:
    async def talk(peer: Any) -> None:
        line, headers, _ = await peer.request()
        assert line == "GET /items?a=b%20c HTTP/1.1"
        assert "content-type" not in headers
        await peer.answer(b"plain text", status=203)

    reply = ask(talk, HttpRequest("/items?a=b%20c", method="GET"), dialect="http")
    assert (reply.body, reply.status) == (b"plain text", 203)


def test_an_empty_success_is_a_success_in_plain_http(ask: Any) -> None:
    reply = ask(
        saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
        HttpRequest("/items", method="DELETE"),
        dialect="http",
    )
    assert (reply.body, reply.status) == (b"", 204)


def test_a_body_of_many_megabytes_goes_out_whole(ask: Any, chat_request: Any) -> None:
    text = b'{"x":"' + b"y" * 5_000_000 + b'"}'

    async def talk(peer: Any) -> None:
        _, _, body = await peer.request()
        assert body == text
        await peer.answer()

    assert ask(talk, chat_request(text)).status == 200


def test_an_error_answer_becomes_its_error_with_the_body(ask: Any) -> None:
    body = b'{"error":{"message":"busy","type":"x","code":null}}'
    with pytest.raises(Overloaded, match="HTTP 503: busy") as caught:
        ask(answering(body, 503, "Retry-After: 2\r\n"))
    assert (caught.value.retry_after_s, caught.value.body) == (2.0, body)


def test_an_error_whose_body_breaks_off_keeps_its_status(ask: Any) -> None:
    with pytest.raises(CallError) as caught:
        ask(saying(b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\npart"))
    assert (caught.value.status, caught.value.body) == (500, b"part")


def test_a_key_that_the_server_repeats_is_hidden(ask: Any) -> None:
    with pytest.raises(Unauthorised) as caught:
        ask(answering(b'{"error":"bad key sk-secret-1"}', 401), key="sk-secret-1")
    assert "sk-secret" not in f"{caught.value} {caught.value.message}"
    assert b"sk-secret" not in (caught.value.body or b"")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(ask: Any, status: int) -> None:
    head = "Location: http://127.0.0.1:1/elsewhere\r\n"
    with pytest.raises(BadReply, match=r"redirects to 127\.0\.0\.1:1"):
        ask(answering(b"", status, head))


@pytest.mark.parametrize(
    "data",
    [
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_bad_reply(ask: Any, data: bytes) -> None:
    with pytest.raises(BadReply):
        ask(saying(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\r\n",
    ],
)
def test_a_connection_that_breaks_is_an_interruption(ask: Any, data: bytes) -> None:
    with pytest.raises(Interrupted) as caught:
        ask(saying(data))
    assert caught.value.code is ErrorCode.CONNECTION_LOST


def test_a_body_over_the_limit_is_a_bad_reply(ask: Any) -> None:
    with pytest.raises(BadReply, match="longer than the 1000 bytes"):
        ask(answering(b'{"x":"' + b"y" * 200_000 + b'"}'), max_reply_bytes=1000)


def test_a_packed_body_is_limited_by_its_real_size(ask: Any) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    with pytest.raises(BadReply, match="longer"):
        ask(
            answering(bomb, headers="Content-Encoding: gzip\r\n"),
            max_reply_bytes=1_000_000,
        )


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        (gzip.compress(ANSWER, mtime=0), "gzip"),
        (zlib.compress(ANSWER), "deflate"),
        (zlib.compress(ANSWER)[2:-4], "deflate"),
        (ANSWER, "identity"),
    ],
    ids=["gzip", "zlib", "raw deflate", "identity"],
)
def test_a_packed_body_is_understood(ask: Any, packed: bytes, name: str) -> None:
    reply = ask(answering(packed, headers=f"Content-Encoding: {name}\r\n"))
    assert reply.body == ANSWER


@pytest.mark.parametrize(("packed", "name"), [(b"x", "gzip"), (b"x", "br")])
def test_a_body_that_cannot_be_unpacked_is_a_bad_reply(
    ask: Any, packed: bytes, name: str
) -> None:
    with pytest.raises(BadReply):
        ask(answering(packed, headers=f"Content-Encoding: {name}\r\n"))


def test_a_long_header_is_no_fault(ask: Any) -> None:
    assert ask(answering(ANSWER, headers=f"X-Long: {'y' * 20_000}\r\n")).status == 200


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"]
)
def test_an_endpoint_that_is_not_there_is_unreachable(
    call: Any, chat_request: Any, url: str
) -> None:
    async def main() -> None:
        via = provider()
        with pytest.raises(Unreachable):
            await via.send(call(chat_request()), Endpoint("a", url))
        await via.close()

    asyncio.run(main())


def test_connecting_has_its_own_time_limit(
    call: Any, chat_request: Any, full_port: int
) -> None:
    async def main() -> None:
        via = provider(connect_timeout_s=0.05)
        place = Endpoint("a", f"http://127.0.0.1:{full_port}")
        with pytest.raises(Unreachable, match="time limit"):
            await via.send(call(chat_request()), place)
        await via.close()

    asyncio.run(main())


def test_a_certificate_that_is_not_trusted_is_a_permanent_error(
    tmp_path: Path, raw_server: Any, call: Any, chat_request: Any
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    made = [openssl, "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"]
    made += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def main() -> None:
        via = provider()
        async with raw_server(answering(ANSWER), ssl=context) as server:
            with pytest.raises(PermanentError, match="certificate") as caught:
                await via.send(call(chat_request()), server.endpoint)
        await via.close()
        assert caught.value.code is ErrorCode.CONNECT_FAILED

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/v1/../admin", "//evil/v1", "/v1/x y", "x"])
def test_no_line_leaves_the_host_even_unchecked(
    call: Any, chat_request: Any, path: str
) -> None:
    async def main() -> None:
        via = provider()
        with pytest.raises(BadCall):
            await via.send(call(HttpRequest(path, b"{}")), Endpoint("a", "http://h"))

    asyncio.run(main())


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("a", "ftp://h"),
        Endpoint("a", "http://user:pw@h"),
        Endpoint("a", "http://h", headers=(("Authorization", "Bearer x"),)),
    ],
)
def test_a_bad_endpoint_is_refused(
    call: Any, chat_request: Any, endpoint: Endpoint
) -> None:
    with pytest.raises(ConfigError):
        asyncio.run(provider().send(call(chat_request()), endpoint))
