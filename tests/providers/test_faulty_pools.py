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

from headrace.app import RouteTools, build
from headrace.clock import SystemClock
from headrace.errors import CallError, ErrorCode, PermanentError
from headrace.events import unheard
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


CA = """[ca]
default_ca = d
[d]
database = index.txt
new_certs_dir = .
policy = p
rand_serial = yes
default_md = sha256
copy_extensions = copy
[p]
commonName = supplied
"""


def run_openssl(folder: Path, *words: str) -> None:
    made = ["openssl", *words]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)


def own_certificate(folder: Path, name: str, *words: str) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run_openssl(folder, "req", *curve, "-keyout", f"{name}.key", *words)


def signed_context(folder: Path, start: str, end: str) -> ssl.SSLContext:
    """Return the context of a server whose certificate `ca.pem` signed for a time."""
    own_certificate(folder, "ca", "-x509", "-subj", "/CN=ca", "-out", "ca.pem")
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    own_certificate(folder, "server", *names, "-out", "req.pem")
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(CA)
    signing = ("-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key")
    dates = ("-startdate", start, "-enddate", end)
    files = ("-in", "req.pem", "-out", "cert.pem")
    run_openssl(folder, "ca", "-batch", *signing, *files, *dates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "server.key")
    return context


@pytest.mark.parametrize(("end", "is_valid"), [("2020", False), ("2099", True)])
def test_an_expired_certificate_is_refused_and_its_endpoint_cut_off(
    end: str,
    is_valid: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raw_server: Any,
    call: Any,
    chat_request: Any,
) -> None:
    context = signed_context(tmp_path, "20190101000000Z", f"{end}0101000000Z")
    # Trusted but for its date: aiohttp makes its one context when it is imported.
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)

    async def main() -> tuple[str, list[Any], list[str]]:
        async with (
            raw_server(answering(ANSWER), ssl=context) as dated,
            raw_server(answering(ANSWER)) as good,
        ):
            said = ""
            via = HttpProvider(dialect_named("openai"), lambda _: "k")
            try:
                await via.send(call(chat_request()), dated.endpoint)
            except PermanentError as error:
                said = error.message
            finally:
                await via.close()
            pool = (named(dated, "dated"), named(good, "good"))
            return said, *await outcomes_of(pool, call, chat_request())

    said, found, kept = asyncio.run(main())
    assert ("certificate has expired" in said) is not is_valid
    assert [each for each in found if isinstance(each, BaseException)] == []
    assert kept == []


def test_a_certificate_that_is_not_trusted_cuts_its_endpoint_off(
    tmp_path: Path, raw_server: Any, call: Any, chat_request: Any
) -> None:
    subject = ("-subj", "/CN=127.0.0.1", "-days", "1")
    own_certificate(tmp_path, "own", "-x509", *subject, "-out", "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "own.key")

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
