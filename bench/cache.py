"""What an answer from the cache costs, beside a bare dictionary and a call to a function.

Hits of 10,000 different chat requests through the whole layer: the key over the canonical
body, the lookup, the answer unpacked, the savings counted. Also: 1,000 equal calls at
once, of which one is made.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from headrace.app import RouteTools, Terms, build
from headrace.caches.memory import MemoryCache
from headrace.clock import SystemClock
from headrace.engine.caching import Caching, Keeping
from headrace.engine.callkeys import http_key_of
from headrace.events import unheard
from headrace.model import Call, Endpoint, Limits, Reply, Retry, Trace, Usage
from headrace.ports import Cache
from headrace.stores.opening import open_store
from headrace.terms import CacheRules
from headrace.wire import HttpRequest
from measure import REPEATS, median, table

COUNT = 10_000
ANSWER = b'{"id":"x","choices":[{"message":{"content":"%s"}}]}' % (b"word " * 60)


class Answering:
    """A provider that answers at once, after letting others run."""

    def __init__(self) -> None:
        self.calls = 0

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        self.calls += 1
        await asyncio.sleep(0)
        return Reply(ANSWER, status=200, usage=Usage(20, 60))

    async def close(self) -> None:
        return


def a_call(number: int) -> Call:
    body = b'{"model":"m","messages":[{"role":"user","content":"Question %d?"}]}'
    request = HttpRequest("/v1/chat/completions", body % number)
    return Call(str(number), number, request, Trace(), model="m")


def a_route(cache: Cache, provider: Any) -> tuple[Any, Caching]:
    clock = SystemClock()
    endpoint = Endpoint("e", "http://e", limits=Limits(in_flight=64))
    caching = Caching(cache, clock, is_shared=not isinstance(cache, MemoryCache))
    key_of = http_key_of("openai", (endpoint,), lambda payload: False)
    terms = Terms(keeping=Keeping(caching, CacheRules(), key_of))
    tools = RouteTools(clock, unheard)
    return build(provider, (endpoint,), Retry(), 60.0, tools, terms), caching


async def hits(cache: Cache) -> float:
    """Return the seconds of one hit."""
    built, caching = a_route(cache, Answering())
    for n in range(COUNT):
        await built.handler(a_call(n))
    calls = [a_call(n) for n in range(COUNT)]
    start = time.perf_counter()
    for call in calls:
        await built.handler(call)
    spent = time.perf_counter() - start
    assert all(call.trace.cached for call in calls)
    await caching.close()
    await built.close()
    return spent / COUNT


async def sql_hits() -> float:
    """Return the seconds of one hit beside the jobs in SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(Path(folder) / "a.db", SystemClock())
        cache = store.cache()
        assert cache is not None
        try:
            return await hits(cache)
        finally:
            await store.close()


async def equal_calls() -> tuple[float, int]:
    """Return the seconds of 1,000 equal calls at once, and how many were made."""
    provider = Answering()
    built, caching = a_route(MemoryCache(SystemClock()), provider)
    start = time.perf_counter()
    await asyncio.gather(*[built.handler(a_call(7)) for _ in range(1_000)])
    spent = time.perf_counter() - start
    await caching.close()
    await built.close()
    return spent, provider.calls


def floor() -> float:
    """Return the seconds of a lookup by the raw bytes."""
    kept = {a_call(n).payload.body: ANSWER for n in range(COUNT)}  # type: ignore[attr-defined]
    bodies = list(kept)
    start = time.perf_counter()
    for body in bodies:
        kept[body]
    return (time.perf_counter() - start) / COUNT


def main() -> None:
    """Print what hits cost, and one table of equal calls."""
    bare = median([floor() for _ in range(REPEATS)])
    memory = median(
        [asyncio.run(hits(MemoryCache(SystemClock()))) for _ in range(REPEATS)]
    )
    sql = median([asyncio.run(sql_hits()) for _ in range(REPEATS)])
    rows = [
        ("a dictionary by the raw body", f"{bare * 1e6:.2f}", "1"),
        ("memory", f"{memory * 1e6:.1f}", f"{memory / bare:.0f}"),
        ("SQLite, one after the other", f"{sql * 1e6:.1f}", f"{sql / bare:.0f}"),
    ]
    table("An answer from the cache", ("place", "µs a hit", "of floor"), rows)
    spent, made = asyncio.run(equal_calls())
    one = ("1,000 at once", f"{spent * 1e3:.1f}", str(made))
    table("Equal calls", ("calls", "ms for all", "calls made"), [one])


if __name__ == "__main__":
    main()
