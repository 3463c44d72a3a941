"""The gateway of `headrace serve`, beside calling its upstream directly in the same run.

The simulated provider, the service and this client are processes of their own. The
first table paces calls (200 a second each way, in turn); the second keeps 64 under way.
"""

from __future__ import annotations

import asyncio
import os
import time

import aiohttp
import uvloop

from http_calls import provider
from measure import quantile_ms, table
from processes import cpu_s, service

PER_S = 200
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
UNDER_WAY = 64
_BODY = {"model": "m", "messages": [{"role": "user", "content": "Say something."}]}
_PATH = "/v1/chat/completions"


async def _ask(session: aiohttp.ClientSession, base_url: str) -> float:
    """Make one call; return its seconds."""
    start = time.perf_counter()
    async with session.post(base_url + _PATH, json=_BODY) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return time.perf_counter() - start


async def paced(direct: str, through: str) -> tuple[list[float], list[float]]:
    """Call both in turn, each `PER_S` times a second; return their times."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        calls: tuple[list[asyncio.Task[float]], ...] = ([], [])
        began_at = time.perf_counter()
        for i in range(int(PER_S * SECONDS) * 2):
            due_at = began_at + i / (PER_S * 2)
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            which = i % 2
            call = asyncio.create_task(_ask(session, (direct, through)[which]))
            calls[which].append(call)
        found = [await asyncio.gather(*each) for each in calls]
    warm = PER_S
    return found[0][warm:], found[1][warm:]


async def crowded(base_url: str) -> float:
    """Keep `UNDER_WAY` calls under way; return calls a second."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        ends_at = time.perf_counter() + SECONDS
        made = 0

        async def work() -> None:
            nonlocal made
            while time.perf_counter() < ends_at:
                await _ask(session, base_url)
                made += 1

        began_at = time.perf_counter()
        await asyncio.gather(*[work() for _ in range(UNDER_WAY)])
        return made / (time.perf_counter() - began_at)


def overhead() -> None:
    with (
        provider("--latency", "constant:0.02") as upstream,
        service(upstream, "--in-flight", "256") as (url, _),
    ):
        direct, through = uvloop.run(paced(upstream, url))
    rows = []
    for name, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99)):
        before, after = quantile_ms(direct, share), quantile_ms(through, share)
        cells = (before, after, after - before)
        rows.append([name, *(f"{ms:.2f}" for ms in cells)])
    head = ("of the calls", "direct, ms", "through the gateway, ms", "more, ms")
    table(f"Gateway at {PER_S} calls/s", head, rows)


def throughput() -> None:
    with (
        provider("--latency", "constant:0.02") as upstream,
        service(upstream, "--in-flight", "256") as (url, pid),
    ):
        direct = uvloop.run(crowded(upstream))
        before = cpu_s(pid)
        through = uvloop.run(crowded(url))
        used_s = (cpu_s(pid) - before) / SECONDS
    rows = [
        ["direct", f"{direct:,.0f}", ""],
        ["through the gateway", f"{through:,.0f}", f"{through / used_s:,.0f}"],
    ]
    head = ("way", "calls/s", "calls for a second of one core")
    table(f"Gateway, {UNDER_WAY} calls under way", head, rows)


if __name__ == "__main__":
    overhead()
    throughput()
