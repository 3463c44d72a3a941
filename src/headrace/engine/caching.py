"""The outermost layer: an answer that is kept, a call under way, or a new call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import Crew
from headrace.engine.deadlines import Deadlines
from headrace.engine.flights import Flight, Flights, Landed, Source
from headrace.engine.keeper import Keeper
from headrace.engine.savings import Savings
from headrace.errors import BadCall, CallError, TimedOut, TransientError
from headrace.events import CacheStatistics
from headrace.model import Call, Handler, Layer, Reply
from headrace.policies.answer import decode_answer, encode_answer
from headrace.policies.keeping import lifetime, poll_s
from headrace.ports import Cache, Kept
from headrace.terms import CacheRules, Price

KeyOf = Callable[[Call], bytes | None]
"""Gives the key of a call; None if its answer is not to be kept."""


class Caching:
    """What all routes of a process share: what is kept, and the calls under way.

    Args:
        cache: where answers are kept; closed with this.
        clock: time and chance.
        is_shared: do other processes use it, too? Then leases say who makes a call.
    """

    def __init__(self, cache: Cache, clock: Clock, *, is_shared: bool) -> None:
        self.keeper = Keeper(cache, clock, is_shared=is_shared)
        self.flights = Flights()
        self.savings = Savings()

    def statistics(self, prices: tuple[Price, ...] = ()) -> CacheStatistics:
        """Return what was saved so far; cheap."""
        return self.savings.statistics(prices)

    async def full_statistics(self, prices: tuple[Price, ...] = ()) -> CacheStatistics:
        """Return what was saved, and how much is kept now, if the cache can say it."""
        told = self.statistics(prices)
        size = await self.keeper.size()
        if size is None:
            return told
        return msgspec.structs.replace(told, entries=size.entries, bytes=size.bytes)

    async def close(self) -> None:
        """Cancel what is under way and give everything back; idempotent."""
        await self.flights.close()
        await self.keeper.close()


class Keeping(msgspec.Struct, frozen=True):
    """How one route keeps its answers."""

    caching: Caching
    rules: CacheRules
    """`ttl_s` is not 0."""
    key_of: KeyOf


def caching(
    keeping: Keeping | None, crew: Crew, deadlines: Deadlines, clock: Clock
) -> Layer:
    """Return the layer that makes equal calls once; without `keeping` there is none."""

    def layer(handler: Handler) -> Handler:
        if keeping is None:
            return handler
        return _CachingLayer(handler, keeping, crew, deadlines, clock).handle

    return layer


class _CachingLayer:
    def __init__(
        self,
        handler: Handler,
        keeping: Keeping,
        crew: Crew,
        deadlines: Deadlines,
        clock: Clock,
    ) -> None:
        self._handler = handler
        self._key_of = keeping.key_of
        self._rules = keeping.rules
        self._keeper = keeping.caching.keeper
        self._flights = keeping.caching.flights
        self._savings = keeping.caching.savings
        self._crew = crew
        self._deadlines = deadlines
        self._clock = clock

    async def handle(self, call: Call) -> Reply:
        key = self._key_of(call) if call.cacheable else None
        if key is None:
            self._savings.skipped += 1
            return await self._handler(call)
        while True:
            flight = self._flights.find(key)
            if flight is None:
                reply = await self._hit_or_lead(call, key)
                if reply is not None:
                    return reply
                continue
            try:
                return await self._join(call, flight)
            except TransientError:
                if not _outlasts(call, flight.call):
                    raise

    async def _hit_or_lead(self, call: Call, key: bytes) -> Reply | None:
        """Return the answer; None if another has begun this call meanwhile."""
        flights = self._flights
        landed = flights.landed
        kept = await self._keeper.get(key)
        reply = _fresh(kept)
        if reply is not None:
            self._savings.hit(call.model, reply.usage)
            call.trace.cached = True
            return reply
        if flights.find(key) is not None:
            return None
        make = self._make if flights.landed == landed else self._look_again
        work = partial(make, call, key, kept)
        return self._told(call, await flights.wait(flights.start(key, call, work)))

    async def _join(self, call: Call, flight: Flight) -> Reply:
        began_at = self._clock.monotonic()
        try:
            with self._crew.joining():
                landed = await self._wait(call, flight)
        finally:
            call.trace.joined_s += self._clock.monotonic() - began_at
        self._savings.join(call.model, landed.reply.usage)
        call.trace.cached = True
        if isinstance(landed.reply.body, bytes) or landed.value is None:
            return landed.reply
        own = decode_answer(landed.value)  # for values may be changed by who gets them
        return landed.reply if own is None else own

    async def _wait(self, call: Call, flight: Flight) -> Landed:
        """Wait for a flight, no longer than this call's own deadline."""
        if call.deadline is None:
            return await self._flights.wait(flight)
        limit = self._deadlines.start(call.deadline)
        try:
            return await self._flights.wait(flight)
        except asyncio.CancelledError:
            if limit.absorbs_cancel():
                raise _too_late() from None
            raise
        finally:
            self._deadlines.stop(limit)

    def _told(self, call: Call, landed: Landed) -> Reply:
        """Count what the one who came first was given."""
        if landed.source is Source.MADE:
            self._savings.misses += 1
            return landed.reply
        call.trace.cached = True
        if landed.source is Source.STALE:
            self._savings.stale += 1
        else:
            self._savings.hit(call.model, landed.reply.usage)
        return landed.reply

    # ---- in the task of the flight

    async def _look_again(self, call: Call, key: bytes, _: Kept | None) -> Landed:
        """Look once more: some call, perhaps this one, has ended since we looked."""
        kept = await self._keeper.get(key)
        reply = _fresh(kept)
        if reply is not None:
            return Landed(reply, Source.KEPT)
        return await self._make(call, key, kept)

    async def _make(self, call: Call, key: bytes, kept: Kept | None) -> Landed:
        reply = await self._wait_turn(call, key)
        if reply is not None:
            return Landed(reply, Source.KEPT)
        try:
            return await self._call(call, key)
        except CallError as error:
            stale = None if isinstance(error, BadCall) else _decoded(kept)
            if stale is None:
                raise
            return Landed(stale, Source.STALE)
        finally:
            await self._keeper.release(key)

    async def _wait_turn(self, call: Call, key: bytes) -> Reply | None:
        """Wait until no other process makes this call; return its answer if it came."""
        looks = 0
        while not await self._keeper.claim(key):
            kept = await self._keeper.get(key)
            reply = _fresh(kept)
            if reply is not None:
                return reply
            if kept is not None and kept.is_fresh:
                self._keeper.note_damaged()
                return None  # no lease is given while it is there: the call mends it
            if not self._keeper.reads_well:
                return None  # the answer may be there and never be seen
            now = self._clock.monotonic()
            if call.deadline is not None and now >= call.deadline:
                raise _too_late()
            try:
                await self._crew.rest(poll_s(looks, self._clock.uniform()))
            finally:
                call.trace.joined_s += self._clock.monotonic() - now
            looks += 1
        return None

    async def _call(self, call: Call, key: bytes) -> Landed:
        reply = await self._handler(call)
        value = encode_answer(reply)
        if value is None:
            self._savings.skipped += 1
        else:
            life = lifetime(self._rules, self._clock.uniform())
            await self._keeper.put(key, value, life)
        return Landed(reply, Source.MADE, value)


def _decoded(kept: Kept | None) -> Reply | None:
    return None if kept is None else decode_answer(kept.value)


def _fresh(kept: Kept | None) -> Reply | None:
    """Return the answer that is kept, if it is still good."""
    return _decoded(kept) if kept is not None and kept.is_fresh else None


def _outlasts(call: Call, first: Call) -> bool:
    """Has this call more time than the one it had joined?"""
    if first.deadline is None:
        return False
    return call.deadline is None or call.deadline > first.deadline


def _too_late() -> TimedOut:
    return TimedOut("its deadline passed while an equal call was under way")
