"""A client that does not read its stream does not hold its place for ever."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

from shell_live import Serve
from upstreams import Asked, upstream

pytestmark = pytest.mark.live

BODY = b'{"model": "m", "stream": true}'
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
)


def test_a_client_that_does_not_read_is_let_go(serve: Serve) -> None:
    left = asyncio.Event()

    async def flood(request: Asked) -> None:
        event = b"data: " + b"x" * 60_000 + b"\n\n"
        with contextlib.suppress(ConnectionError):
            await request.stream()
            while True:
                await request.send(b"%x\r\n%b\r\n" % (len(event), event))
        left.set()

    async def main() -> None:
        soon = {"HEADRACE_SERVE_CLIENT_TIMEOUT": "0.5"}
        async with upstream(flood) as there:
            with serve("--base-url", there.url, env=soon) as served:
                parts = urlsplit(served.url)
                _, writer = await asyncio.open_connection(
                    parts.hostname, parts.port, limit=1_024
                )
                writer.write(HEAD + BODY)
                async with asyncio.timeout(20):
                    await left.wait()
                writer.close()

    asyncio.run(main())
