"""A cancelled call is told to the server at once, whatever phase it was in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.model import Endpoint
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider

pytestmark = pytest.mark.live

PROMPT_S = 1.0
BIG = b'{"x":"' + b"y" * 64_000_000 + b'"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


class TellingClock:
    """Tells when a head has come: then the provider asks what time it is."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def monotonic(self) -> float:
        return 0.0

    def utc(self) -> float:
        self.asked.set()
        return 0.0

    def uniform(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def http(clock: Any = None) -> HttpProvider:
    return HttpProvider(dialect_named("openai"), lambda _: None, clock=clock)


def unsent_bytes(port: int) -> int:
    """Return what the kernel holds for a server that has stopped reading."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues, *_ = line.split()
        if int(remote.partition(":")[2], 16) == port:
            return int(queues.partition(":")[0], 16)
    return 0


async def wait_stuck(port: int) -> None:
    """Wait until nothing more is sent."""
    before, turns = -1, 0
    async with asyncio.timeout(10):
        while turns < 20 or before == 0:
            now = unsent_bytes(port)
            turns = turns + 1 if now == before else 0
            before = now
            await asyncio.sleep(0)


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PROMPT_S):
            await task


def test_while_connecting(
    run: Run,
    call: Any,
    chat_request: Any,
    full_port: int,
    count_files: Any,
    wait_until: Any,
) -> None:
    async def main() -> None:
        via = http()
        place = Endpoint("a", f"http://127.0.0.1:{full_port}")
        before = count_files()
        task = asyncio.create_task(via.send(call(chat_request()), place))
        await wait_until(lambda: count_files() > before)
        await cancel(task)
        await wait_until(lambda: count_files() == before)
        await via.close()

    run(main())


def test_while_sending_to_a_peer_that_has_stopped_reading(
    run: Run,
    raw_server: Any,
    call: Any,
    chat_request: Any,
    count_files: Any,
    wait_until: Any,
) -> None:
    async def main() -> None:
        begun, read_on, told = (asyncio.Event() for _ in range(3))
        sizes: list[int] = []

        async def talk(peer: Any) -> None:
            await peer.head()
            begun.set()
            await read_on.wait()
            sizes.append(await peer.gone())
            told.set()

        via = http()
        async with raw_server(talk) as server:
            before = count_files()
            task = asyncio.create_task(
                via.send(call(chat_request(BIG)), server.endpoint)
            )
            await begun.wait()
            await wait_stuck(server.port)
            await cancel(task)
            await wait_until(lambda: count_files() == before + 1)  # the server's end
            read_on.set()
            async with asyncio.timeout(PROMPT_S):
                await told.wait()
        await via.close()
        assert sizes[0] < len(BIG) / 2

    run(main())


@pytest.mark.parametrize("phase", ["waiting", "reading"])
def test_while_waiting_for_the_answer_or_reading_it(
    run: Run, raw_server: Any, call: Any, chat_request: Any, phase: str
) -> None:
    async def main() -> None:
        received, told = asyncio.Event(), asyncio.Event()

        async def talk(peer: Any) -> None:
            await peer.request()
            received.set()
            if phase == "reading":
                await peer.send(HEAD + b'{"half":')
            await peer.gone()
            told.set()

        clock = TellingClock()
        via = http(clock)
        async with raw_server(talk) as server:
            task = asyncio.create_task(via.send(call(chat_request()), server.endpoint))
            await (clock.asked if phase == "reading" else received).wait()
            await cancel(task)
            async with asyncio.timeout(PROMPT_S):
                await told.wait()
        await via.close()

    run(main())


def test_while_reading_a_stream(
    run: Run, raw_server: Any, call: Any, chat_request: Any
) -> None:
    async def main() -> None:
        told = asyncio.Event()

        async def talk(peer: Any) -> None:
            await peer.request()
            await peer.send(HEAD + b"data: {}\n\n")
            await peer.gone()
            told.set()

        via = http()
        async with raw_server(talk) as server:
            request = chat_request(b'{"stream":true}')
            reply = await via.send(call(request), server.endpoint)
            assert reply.chunks is not None
            await anext(reply.chunks)
            task = asyncio.create_task(anext(reply.chunks))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await cancel(task)
            async with asyncio.timeout(PROMPT_S):
                await told.wait()
        await via.close()

    run(main())


@pytest.mark.slow
def test_a_thousand_cancelled_calls_leave_nothing_open(
    run: Run,
    raw_server: Any,
    call: Any,
    chat_request: Any,
    count_files: Any,
    wait_until: Any,
) -> None:
    async def main() -> None:
        async def talk(peer: Any) -> None:
            await peer.request()
            await peer.gone()

        via = http()
        async with raw_server(talk) as server:
            before = count_files()
            for wanted in range(100, 1001, 100):
                tasks = [
                    asyncio.create_task(via.send(call(chat_request()), server.endpoint))
                    for _ in range(100)
                ]
                # A busy machine connects slowly.
                await wait_until(lambda: server.connections == wanted, 20.0)  # noqa: B023  awaited here
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await wait_until(lambda: count_files() == before)
        await via.close()

    run(main())
