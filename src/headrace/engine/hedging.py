"""Makes a slow call a second time at another endpoint; the first answer counts.

```
first ──────────── delay ──────────────► answer: the second is cancelled
                     └─► second (if there is room elsewhere) ─► answer: the first is
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from headrace.clock import Clock
from headrace.engine.gate import Gate
from headrace.engine.site import Site
from headrace.model import Call, Handler, Layer, Reply, Trace
from headrace.policies.hedge import HedgeBook, is_spare
from headrace.terms import Hedge

_DUE_S = 0.001
"""What is due within this time is due now."""

Streams = Callable[[Call], bool]
"""Does a call ask for an answer in chunks? Such a call is never made twice."""


class HedgeTools(msgspec.Struct, frozen=True):
    """What the layer works with."""

    gate: Gate
    clock: Clock
    streams: Streams


def hedging(rules: Hedge, tools: HedgeTools) -> Layer:
    """Return the layer around each try that makes a second one beside it if it is slow.

    Only of repeatable calls, with another endpoint that is well and has room, while
    nobody waits at the gate, and within the budget. The loser is cancelled, and its
    permits are back before the answer passes on. An error ends neither the other call
    nor, alone, the try: if both fail, the first one's error counts.
    """
    desk = _Desk(rules, tools)

    def layer(handler: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            if not call.repeatable or call.avoid or tools.streams(call):
                return await handler(call)
            delay_s = desk.begin(call)
            if delay_s is None:
                before_s = call.trace.in_flight_s
                reply = await handler(call)
                desk.learn(call, call.trace.in_flight_s - before_s)
                return reply
            return await _Race(desk, handler, call).run(delay_s)

        return handle

    return layer


class _Desk:
    """What is known of the durations of a route's calls."""

    def __init__(self, rules: Hedge, tools: HedgeTools) -> None:
        self._book = HedgeBook(rules)
        self._gate = tools.gate
        self.clock = tools.clock

    def begin(self, call: Call) -> float | None:
        """Count a first call; return after how long it is slow, None = unknown."""
        if len(self._gate.sites) < 2:
            return None
        self._book = self._book.started()
        return self._book.delay_s(call.cost)

    def learn(self, call: Call, seconds: float) -> None:
        """Learn how long a first call took."""
        self._book = self._book.observe(call.cost, seconds)

    def allows(self, call: Call) -> bool:
        """May a second call go now? If so it is paid for."""
        if self._gate.waiting or not any(
            self._is_open(site, call) for site in self._gate.sites
        ):
            return False
        self._book, paid = self._book.spend()
        return paid

    def _is_open(self, site: Site, call: Call) -> bool:
        """Could this endpoint take the second call at once?"""
        now = self.clock.monotonic()
        endpoint, tokens = site.endpoint, call.cost.tokens
        return (
            endpoint.name != call.trace.endpoint
            and (not endpoint.models or call.model in endpoint.models)
            and site.breaker.state == "closed"
            and is_spare(site.in_flight, site.limit.value)
            and not site.paused_until(call.model, now)
            and site.rate_fits(call, tokens) is None
            and site.rate_at(call, tokens, now) <= now
        )


class _Race:
    """One try, perhaps made twice."""

    def __init__(self, desk: _Desk, handler: Handler, call: Call) -> None:
        self._desk = desk
        self._handler = handler
        self._call = call
        self._began_at = desk.clock.monotonic()
        self._tries = call.trace.tries
        self._waited_s = _waited(call.trace)
        self._in_flight_s = call.trace.in_flight_s

    async def run(self, delay_s: float) -> Reply:
        """Return the first answer; raise the first call's error if there is none."""
        first = _start(self._handler(self._call))
        racers, copy = [first], None
        try:
            if await self._is_slow(first, delay_s):
                copy = self._copy()
                racers.append(_start(self._handler(copy)))
                await _first_answer(racers)
        finally:
            try:
                await _end(racers)
            finally:
                if copy is not None:
                    self._merge(copy, racers)
        reply = next((r for r in racers if _answered(r)), first).result()
        self._desk.learn(self._call, self._took_s())
        return reply

    async def _is_slow(self, first: asyncio.Task[Reply], delay_s: float) -> bool:
        """Wait until the first call has ended (False) or a second one should go."""
        left_s = delay_s
        while True:
            await asyncio.wait([first], timeout=left_s)
            if first.done():
                return False
            left_s = delay_s - self._took_s()
            if left_s > _DUE_S:
                continue
            if self._is_sent() and self._desk.allows(self._call):
                return True
            left_s = delay_s

    def _is_sent(self) -> bool:
        return self._call.trace.tries > self._tries

    def _took_s(self) -> float:
        """Return how long the first call has been under way, or was."""
        if not self._is_sent():
            return 0.0
        waited_s = _waited(self._call.trace) - self._waited_s
        return self._desk.clock.monotonic() - self._began_at - waited_s

    def _copy(self) -> Call:
        trace = self._call.trace
        return msgspec.structs.replace(
            self._call,
            trace=Trace(attempts=trace.attempts, tries=trace.tries),
            avoid=trace.endpoint,
        )

    def _merge(self, copy: Call, racers: list[asyncio.Task[Reply]]) -> None:
        """Book with the item what its second call came to."""
        trace, second = self._call.trace, copy.trace
        sent = second.tries - trace.tries
        trace.tries += sent
        trace.hedges += sent
        if second.cost_nano >= 0:
            trace.cost_nano = max(0, trace.cost_nano) + second.cost_nano
        # Of time only the first one's counts: the item did not wait twice.
        trace.in_flight_s = self._in_flight_s + self._took_s()
        if _answered(racers[1]) and not _answered(racers[0]):
            trace.endpoint = second.endpoint
            trace.hedges_won += 1


def _waited(trace: Trace) -> float:
    return trace.rate_s + trace.slot_s + trace.endpoint_s


async def _first_answer(racers: list[asyncio.Task[Reply]]) -> None:
    """Wait until one has answered or all have failed."""
    running = set(racers)
    while running and not any(_answered(racer) for racer in racers):
        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


def _start(answering: Awaitable[Reply]) -> asyncio.Task[Reply]:
    assert asyncio.iscoroutine(answering)
    task: asyncio.Task[Reply] = asyncio.create_task(answering)
    task.add_done_callback(_see)
    return task


def _see(task: asyncio.Task[Reply]) -> None:
    """Take note of an error, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()


async def _end(racers: list[asyncio.Task[Reply]]) -> None:
    """Cancel who still runs, and wait until all permits are back."""
    running = [racer for racer in racers if not racer.done()]
    for racer in running:
        racer.cancel()
    if running:
        await asyncio.wait(running)


def _answered(racer: asyncio.Task[Reply]) -> bool:
    return racer.done() and not racer.cancelled() and racer.exception() is None
