"""What a thousand clients that listen to one busy job cost its engine.

The engine, the service and its sockets share one process; the clients are another.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

import headrace
from headrace import FunctionRoute, Limits
from headrace.clock import SystemClock
from headrace.config import ServeSettings
from headrace.durable import Headrace
from headrace.files.memory import MemoryFiles
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.keyroom import KeyRoom
from measure import REPEATS, median, table, used_cpu_s
from processes import serving

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


class Run(NamedTuple):
    """What one run came to."""

    per_s: float
    cpu_us: float
    """Microseconds of this process's processor for an item."""
    told: int


async def _once(folder: str, listeners: int) -> Run:
    """Run a job to which so many listen."""
    route = FunctionRoute("nothing", _nothing, limits=Limits(in_flight=100))
    where = str(Path(folder) / f"{time.monotonic_ns()}.db")
    clock = SystemClock()
    room = KeyRoom(clock)
    async with headrace.open(where, [route], make_keyed=room) as home:
        service = Service(home, ServeSettings(), clock, MemoryFiles(), room)
        async with service.hub.running(), serving(make_app(service)) as url:
            return await _run(home, service, url, listeners)


async def _run(home: Headrace, service: Service, url: str, listeners: int) -> Run:
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
    start, cpu_s = time.perf_counter(), used_cpu_s()
    await new.resume()
    await new.wait()
    took_s, cpu_s = time.perf_counter() - start, used_cpu_s() - cpu_s
    told = 0
    if client is not None:
        out, _ = await client.communicate()
        told = int(out)
    items = ITEMS - done
    return Run(items / took_s, 1e6 * cpu_s / items, told)


def main() -> None:
    if len(sys.argv) > 1:
        uvloop.run(_listen(sys.argv[1]))
        return
    runs: dict[int, list[Run]] = {0: [], LISTENERS: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            for listeners, found in runs.items():
                found.append(uvloop.run(_once(folder, listeners)))
    first = median([run.cpu_us for run in runs[0]])
    table(
        f"Durable no-op items, {ITEMS:,}, one process; SSE listeners to their job",
        ["listeners", "items/s", "CPU us an item", "share by CPU", "events sent"],
        [
            [
                f"{listeners:,}",
                f"{median([run.per_s for run in found]):,.0f}",
                f"{median([run.cpu_us for run in found]):.1f}",
                f"{100 * first / median([run.cpu_us for run in found]):.0f} %",
                f"{median([float(run.told) for run in found]):,.0f}",
            ]
            for listeners, found in runs.items()
        ],
    )


if __name__ == "__main__":
    main()
