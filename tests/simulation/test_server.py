from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from headrace.clock import SystemClock
from headrace.simulation.scenario import scenario_from
from headrace.simulation.server import SimulatedServer, serving

pytestmark = pytest.mark.live

FAST: dict[str, Any] = {"latency": "constant:0"}
CHAT = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
).encode()


def serve(
    use: Callable[[SimulatedServer], Awaitable[None]],
    settings: dict[str, Any],
    key: str | None = None,
) -> None:
    async def main() -> None:
        clock = SystemClock()
        async with serving(scenario_from(settings), clock, key=key) as server:
            await use(server)

    asyncio.run(main())


def post(body: bytes, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{headers}\r\n".encode() + body


@asynccontextmanager
async def connected(
    server: SimulatedServer,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_answer(
    reader: asyncio.StreamReader,
) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


async def exchange(server: SimulatedServer, request: bytes) -> tuple[int, Any]:
    async with connected(server) as (reader, writer):
        writer.write(request)
        status, _, body = await read_answer(reader)
        return status, json.loads(body)


async def get(server: SimulatedServer, path: str) -> Any:
    return (await exchange(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))[
        1
    ]


def client(server: SimulatedServer) -> openai.AsyncOpenAI:
    base_url = f"{server.base_url}/v1"
    return openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)


@pytest.mark.slow
def test_the_official_client_accepts_a_chat_answer() -> None:
    async def use(server: SimulatedServer) -> None:
        async with client(server) as official:
            found = await official.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}], max_tokens=5
            )
        again = type(found).model_validate(found.model_dump(), strict=True)
        assert again.choices[0].finish_reason == "length"
        assert len((again.choices[0].message.content or "").split()) == 5
        assert again.usage is not None
        assert (again.usage.prompt_tokens, again.usage.completion_tokens) == (2, 5)

    serve(use, FAST)


def test_the_official_client_reads_a_stream() -> None:
    async def use(server: SimulatedServer) -> None:
        async with client(server) as official:
            whole = await official.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}]
            )
            stream = await official.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage

    serve(use, {"latency": "constant:0.02"})


@pytest.mark.slow
def test_the_official_client_accepts_everything_else() -> None:
    async def use(server: SimulatedServer) -> None:
        async with client(server) as official:
            vectors = await official.embeddings.create(
                model="m", input=["one", "two"], dimensions=8
            )
            plain = await official.embeddings.create(
                model="m", input=["one"], dimensions=8, encoding_format="float"
            )
            text = await official.completions.create(model="m", prompt="hello")
            response = await official.responses.create(model="m", input="hello")
            models = [model.id async for model in official.models.list()]
        assert [len(found.embedding) for found in vectors.data] == [8, 8]
        assert vectors.data[0].embedding == pytest.approx(plain.data[0].embedding)
        type(text).model_validate(text.model_dump(), strict=True)
        type(response).model_validate(response.model_dump(), strict=True)
        assert len(response.output_text.split()) == 16
        assert models == ["m", "n"]

    serve(use, {**FAST, "models": ["m", "n"]})


def test_the_official_client_reads_a_streamed_response() -> None:
    async def use(server: SimulatedServer) -> None:
        async with client(server) as official:
            stream = await official.responses.create(model="m", input="hi", stream=True)
            events = [event async for event in stream]
        kinds = [event.type for event in events]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert kinds.count("response.output_text.delta") == 16

    serve(use, FAST)


def test_the_official_client_recognises_the_errors() -> None:
    async def use(server: SimulatedServer) -> None:
        async with client(server) as official:
            create = official.chat.completions.create
            hello: Any = [{"role": "user", "content": "hello"}]
            with pytest.raises(openai.NotFoundError) as unknown:
                await create(model="other", messages=hello)
            with pytest.raises(openai.BadRequestError) as bad:
                await create(model="m", messages=[])
            await create(model="m", messages=hello)
            with pytest.raises(openai.RateLimitError) as limited:
                await create(model="m", messages=hello)
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        assert bad.value.param == "messages"
        assert limited.value.type == "requests"
        assert limited.value.response.headers["retry-after"] == "60"
        assert limited.value.response.headers["x-ratelimit-reset-requests"].endswith(
            "s"
        )

    serve(use, {**FAST, "models": ["m"], "rpm": 1, "rate_model": "sliding_log"})


def test_a_key_is_demanded_for_calls_and_control() -> None:
    async def use(server: SimulatedServer) -> None:
        bearing = "Authorization: Bearer k\r\n"
        assert (await exchange(server, post(CHAT)))[0] == 401
        assert (await exchange(server, post(b"", "/_reset")))[0] == 401
        assert (await exchange(server, post(CHAT, headers=bearing)))[0] == 200
        assert (await exchange(server, post(b"", "/_reset", bearing)))[0] == 200

    serve(use, FAST, key="k")


@pytest.mark.slow
def test_a_thousand_calls_share_one_connection() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            for n in range(1000):
                writer.write(post(CHAT, headers=f"X-Client-Request-Id: job-{n}-1\r\n"))
                assert (await read_answer(reader))[0] == 200
        found = await get(server, "/_stats?ids=1")
        assert found["answered"] == 1000
        assert found["peak_in_flight"] == 1
        assert found["ids"]["items"]["by_count"] == {"1": 1000}
        assert found["ids"]["bodies"]["by_count"] == {"1000": 1}

    serve(use, FAST)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            writer.write(b"".join(post(b'{"n":%d}' % n, "/echo") for n in range(2000)))
            found = [json.loads((await read_answer(reader))[2]) for _ in range(2000)]
        assert [body["n"] for body in found] == list(range(2000))

    serve(use, FAST)


def test_a_chunked_request_is_understood() -> None:
    async def use(server: SimulatedServer) -> None:
        head = b"POST /chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        half = len(CHAT) // 2
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(part), part)
            for part in (CHAT[:half], CHAT[half:], b"")
        )
        assert (await exchange(server, head + b"\r\n" + chunks))[0] == 200

    serve(use, FAST)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"{nonsense"), 400),
        (post(b'{"model": 3}'), 400),
        (post(b'{"model": "m", "messages": [{}]}'), 400),
        (post(b'{"model": "m", "messages": [{"role": "user"}], "max_tokens": 0}'), 400),
        (post(b"\xff\xfe"), 400),
        (post(CHAT, "/v1/unknown"), 404),
        (b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (post(b"{}", "/_scenario")[:-2] + b"[]", 400),
        (post(b'{"rpx": 1}', "/_scenario"), 400),
        (b"GET /_nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_a_bad_request_gets_openais_error_envelope(
    request_bytes: bytes, status: int
) -> None:
    async def use(server: SimulatedServer) -> None:
        found, body = await exchange(server, request_bytes)
        assert found == status
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert body["error"]["message"]

    serve(use, FAST)


def test_what_is_no_http_is_refused_and_the_connection_closed() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400")

    serve(use, FAST)


def test_a_head_request_gets_no_body() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            writer.write(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_answer(reader))[0] == 200

    serve(use, FAST)


async def _raw(server: SimulatedServer, request: bytes) -> bytes:
    """Return all that comes until the connection ends, however it ends."""
    async with connected(server) as (reader, writer):
        writer.write(request)
        found = b""
        try:
            while part := await reader.read(65_536):
                found += part
        except ConnectionError:
            pass
        return found


def test_connections_break_before_or_within_the_answer() -> None:
    async def use(server: SimulatedServer) -> None:
        found = [await _raw(server, post(CHAT)) for _ in range(40)]
        cut = [raw for raw in found if raw]
        assert 0 < len(cut) < 40
        head, _, body = cut[0].partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert 0 < len(body) < length
        assert (await get(server, "/_stats"))["dropped"] == 40

    serve(use, {**FAST, "drop_rate": 1})


def test_a_stream_may_break_in_its_middle() -> None:
    async def use(server: SimulatedServer) -> None:
        streamed = CHAT[:-1] + b', "stream": true}'
        found = [await _raw(server, post(streamed)) for _ in range(20)]
        cut = [raw for raw in found if raw]
        assert cut
        assert all(b"data: " in raw and b"[DONE]" not in raw for raw in cut)

    serve(use, {**FAST, "drop_rate": 1})


def test_malformed_bodies_are_whole_http_and_no_json() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            for _ in range(20):
                writer.write(post(CHAT))
                status, _, body = await read_answer(reader)
                assert status == 200
                with pytest.raises(json.JSONDecodeError):
                    json.loads(body)
        assert (await get(server, "/_stats"))["malformed"] == 20

    serve(use, {**FAST, "malformed_rate": 1})


def test_a_hung_call_ends_only_when_its_caller_leaves() -> None:
    async def use(server: SimulatedServer) -> None:
        async with connected(server) as (reader, writer):
            writer.write(post(CHAT))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(1)
            found = await get(server, "/_stats")
            assert (found["hung"], found["in_flight"]) == (1, 1)
        async with asyncio.timeout(5):
            while (found := await get(server, "/_stats"))["in_flight"]:
                pass
        assert found["aborted"] == 1

    serve(use, {**FAST, "hang_rate": 1})


def test_an_outage_can_be_started_and_stopped() -> None:
    async def use(server: SimulatedServer) -> None:
        await exchange(server, post(b'{"down": "unavailable"}', "/_scenario"))
        assert (await exchange(server, post(CHAT)))[0] == 503
        await exchange(server, post(b'{"down": "drop"}', "/_scenario"))
        assert await _raw(server, post(CHAT)) == b""
        await exchange(server, post(b'{"down": "none"}', "/_scenario"))
        assert (await exchange(server, post(CHAT)))[0] == 200

    serve(use, FAST)


@pytest.mark.slow
def test_a_refusing_outage_closes_the_port_and_opens_it_again() -> None:
    async def use(server: SimulatedServer) -> None:
        found = await get(server, "/_stats")
        start_s = found["elapsed_s"]
        outage = {"from_s": start_s, "to_s": start_s + 0.5, "kind": "refuse"}
        change = json.dumps({"outages": [outage]}).encode()
        await exchange(server, post(change, "/_scenario"))
        refused = 0
        async with asyncio.timeout(10):
            while True:
                try:
                    status, _ = await exchange(server, post(CHAT))
                    break
                except (ConnectionError, asyncio.IncompleteReadError):
                    refused += 1
        assert status == 200
        assert refused > 0

    serve(use, FAST)


def test_reset_counts_from_zero() -> None:
    async def use(server: SimulatedServer) -> None:
        await exchange(server, post(CHAT))
        assert (await exchange(server, post(b"", "/_reset")))[1]["calls"] == 0

    serve(use, FAST)


def test_a_port_in_use_is_refused() -> None:
    async def use(server: SimulatedServer) -> None:
        with pytest.raises(OSError, match="in use"):
            async with serving(scenario_from({}), SystemClock(), port=server.port):
                pass

    serve(use, FAST)
