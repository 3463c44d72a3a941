"""A client that costs little: one kept connection of HTTP/1.1, one request at a time."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
JSON = "application/json"


class Wire:
    """A connection to a server whose answers state their lengths."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self.writer = writer
        self._reader = reader
        self._host = host

    @classmethod
    async def to(cls, url: str) -> Wire:
        parts = urlsplit(url)
        opened = await asyncio.open_connection(parts.hostname, parts.port, limit=2**22)
        return cls(*opened, parts.netloc)

    def head(self, method: str, path: str, size: int, kind: str = JSON) -> bytes:
        """Return the head of a request whose body has so many bytes."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
        ).encode()

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request; return the body of its answer, which must be a good one."""
        self.writer.write(self.head(method, path, len(body)) + body)
        return await self.answer()

    async def answer(self) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        body = await self._reader.readexactly(int(length[1]))
        assert head.startswith(b"HTTP/1.1 20"), head + body
        return body

    async def get(self, path: str) -> Any:
        """Return what stands there."""
        return json.loads(await self.ask("GET", path))

    async def post(self, path: str, given: Any) -> Any:
        """Send something; return the answer."""
        return json.loads(await self.ask("POST", path, json.dumps(given).encode()))

    def close(self) -> None:
        self.writer.close()
