"""A provider that does as each test tells it, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[["Asked"], Awaitable[None]]


class Asked:
    """One request, and the way back."""

    def __init__(
        self,
        line: str,
        headers: dict[str, str],
        body: bytes,
        peer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.line, self.headers, self.body = line, headers, body
        self._reader, self._writer = peer

    async def reply(
        self, body: bytes = b"{}", status: int = 200, headers: str = ""
    ) -> None:
        """Answer at once; each header ends in `\\r\\n`."""
        length = f"content-length: {len(body)}\r\n"
        await self.send(f"HTTP/1.1 {status} X\r\n{length}{headers}\r\n".encode() + body)

    async def stream(self, *chunks: bytes, headers: str = "") -> None:
        """Answer by events, without the end."""
        kind = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
        await self.send(f"HTTP/1.1 200 OK\r\n{kind}{headers}\r\n".encode())
        for chunk in chunks:
            await self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def wait_left(self) -> None:
        """Wait until the asker has closed its side."""
        assert await self._reader.read(1) == b""

    def drop(self) -> None:
        """Break the connection."""
        self._writer.transport.abort()


class Upstream:
    """What was asked, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.came = asyncio.Event()


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[Upstream]:
    """Serve on loopback; `answer` is called for each request."""
    found: Upstream

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *fields = head.rstrip().split("\r\n")
                pairs = (field.partition(": ") for field in fields)
                headers = {name.lower(): value for name, _, value in pairs}
                size = int(headers.get("content-length", 0))
                asked = Asked(
                    line, headers, await reader.readexactly(size), (reader, writer)
                )
                found.asked.append(asked)
                found.came.set()
                await answer(asked)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    found = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield found
    finally:
        server.close()
