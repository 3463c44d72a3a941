"""Real servers on loopback, and the calls that are sent to them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from types import TracebackType

import pytest

from headrace.model import Call, Endpoint, Trace
from headrace.wire import HttpRequest

Talk = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def request(self) -> tuple[str, dict[str, str], bytes]:
        """Read a whole request; its headers come with lower-case names."""
        line, headers = await self.head()
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return line, headers, body

    async def head(self) -> tuple[str, dict[str, str]]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text.rstrip().split("\r\n")
        pairs = (field.partition(": ") for field in fields)
        return line, {name.lower(): value for name, _, value in pairs}

    async def answer(
        self, body: bytes = b"{}", status: int = 200, headers: str = ""
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.send(head.encode() + body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> int:
        """Read until the client has closed; return how many bytes still came."""
        size = 0
        try:
            while data := await self.reader.read(65_536):
                size += len(data)
        except ConnectionError:
            pass
        return size


class RawServer:
    """Speaks as `talk` says on each connection, then closes it."""

    def __init__(self, talk: Talk, ssl: object = None) -> None:
        self._talk, self._ssl = talk, ssl
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.faults: list[BaseException] = []

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._ssl
        )
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self._ssl else "http"
        self.endpoint = Endpoint("there", f"{scheme}://127.0.0.1:{self.port}")
        return self

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._talk(Peer(reader, writer, self.connections))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except AssertionError as error:
            self.faults.append(error)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not self.faults


def make_call(payload: object, *, repeatable: bool = True, tries: int = 1) -> Call:
    return Call("job-7", 7, payload, Trace(tries=tries), repeatable=repeatable)


def chat(body: bytes = b'{"model":"m","messages":[]}', **kwargs: object) -> HttpRequest:
    return HttpRequest("/v1/chat/completions", body, **kwargs)  # type: ignore[arg-type]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], object], limit_s: float = 1.0) -> None:
    """Wait for what only the kernel knows."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  nobody could set an event
            await asyncio.sleep(0)


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    return until


@pytest.fixture
def raw_server() -> type[RawServer]:
    return RawServer


@pytest.fixture
def call() -> Callable[..., Call]:
    return make_call


@pytest.fixture
def chat_request() -> Callable[..., HttpRequest]:
    return chat


@pytest.fixture
def count_files() -> Callable[[], int]:
    return open_files


@pytest.fixture
def full_port() -> Iterator[int]:
    """Return a port on which connecting never ends: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
