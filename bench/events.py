"""What a thousand clients that listen to one busy job cost its engine.

The engine, the service and its sockets share one process; the clients are another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
import uvloop

import headrace
from headrace import FunctionRoute, Limits
from headrace.clock import SystemClock
from headrace.config import ServeSettings
from headrace.durable import Headrace
from headrace.files.memory import MemoryFiles
from headrace.service.api import make_app
from headrace.service.core import Service
from measure import REPEATS, median, table

ITEMS = int(os.environ.get("BENCH_ITEMS", "100000"))
LISTENERS = int(os.environ.get("BENCH_LISTENERS", "1000"))


async def _nothing(item: int) -> int:
    return item


async def _listen(url: str) -> None:
    """Be all the clients; print how many events came once all have been let go."""
    parts = urlsplit(url)

    async def one() -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        writer.write(head.encode())
        seen = 0
        while chunk := await reader.read(65_536):
            seen += chunk.count(b"event: ")
            if b'"status":"completed"' in chunk:
                break
        writer.close()
        return seen

    print(sum(await asyncio.gather(*(one() for _ in range(LISTENERS)))))


@contextlib.asynccontextmanager
async def _served(service: Service) -> AsyncIterator[str]:
    config = uvicorn.Config(
        make_app(service), port=0, log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn tells nobody
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def _once(folder: str, listeners: int) -> tuple[float, int]:
    """Return items a second, and how many events were sent."""
    route = FunctionRoute("nothing", _nothing, limits=Limits(in_flight=100))
    where = str(Path(folder) / f"{time.monotonic_ns()}.db")
    async with headrace.open(where, [route]) as home:
        service = Service(home, ServeSettings(), SystemClock(), MemoryFiles())
        async with service.hub.running(), _served(service) as url:
            return await _run(home, service, url, listeners)


async def _run(
    home: Headrace, service: Service, url: str, listeners: int
) -> tuple[float, int]:
    first = await home.submit([0], "nothing")
    await first.wait()
    new = await home.submit(range(ITEMS), "nothing", metadata={"bench": "events"})
    await new.pause()
    client = None
    if listeners:
        events = f"{url}/api/v1/jobs/{new.id}/events"
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, events), stdout=asyncio.subprocess.PIPE
        )
        while service.hub.listeners < listeners:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    done = (await new.refresh()).counts.ended
    start = time.perf_counter()
    await new.resume()
    await new.wait()
    took_s = time.perf_counter() - start
    told = 0
    if client is not None:
        out, _ = await client.communicate()
        told = int(out)
    return (ITEMS - done) / took_s, told


def main() -> None:
    if len(sys.argv) > 1:
        uvloop.run(_listen(sys.argv[1]))
        return
    alone, heard, told = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            alone.append(uvloop.run(_once(folder, 0))[0])
            rate, events = uvloop.run(_once(folder, LISTENERS))
            heard.append(rate)
            told.append(float(events))
    share = median([b / a for a, b in zip(alone, heard, strict=True)])
    table(
        f"Durable no-op items, {ITEMS:,}, one process; SSE listeners to their job",
        ["listeners", "items/s", "share", "events sent"],
        [
            ["0", f"{median(alone):,.0f}", "100 %", "0"],
            [
                f"{LISTENERS:,}",
                f"{median(heard):,.0f}",
                f"{100 * share:.0f} %",
                f"{median(told):,.0f}",
            ],
        ],
    )


if __name__ == "__main__":
    main()
