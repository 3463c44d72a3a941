"""A cache that fails is no reason to fail: then calls are made as if there were none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from headrace.clock import Clock
from headrace.errors import StoreError
from headrace.policies.keeping import LEASE_S, Lifetime, Rest
from headrace.ports import Cache, CacheSize, Kept

T = TypeVar("T")

_log = logging.getLogger("headrace")


class _Side:
    """Reading or writing: a file that another has locked can still be read."""

    def __init__(self, clock: Clock, note: Callable[[StoreError], None]) -> None:
        self._clock = clock
        self._note = note
        self._rest = Rest()

    @property
    def is_well(self) -> bool:
        """Was it answered when it was last asked?"""
        return self._rest.until is None

    async def ask(self, question: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Return the answer, or `otherwise` if the cache fails or just did."""
        now = self._clock.monotonic()
        if not self._rest.allows(now):
            return otherwise
        self._rest = self._rest.asked(now)
        try:
            answer = await question()
        except StoreError as error:
            self._rest = self._rest.failed(self._clock.monotonic())
            self._note(error)
            return otherwise
        self._rest = self._rest.answered()
        return answer


class Keeper:
    """Uses a cache, and renews the leases of the calls that this process makes.

    A cache that failed is left alone for a while: one that hangs must not hold up each
    call.

    Args:
        cache: closed with this.
        clock: time.
        is_shared: do other processes use it, too?
    """

    def __init__(self, cache: Cache, clock: Clock, *, is_shared: bool) -> None:
        self._cache = cache
        self._clock = clock
        self._is_shared = is_shared
        self._holder = uuid4().hex
        self._held: set[bytes] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._has_failed = False
        self._has_damage = False
        self._reading = _Side(clock, self._note)
        self._writing = _Side(clock, self._note)

    @property
    def reads_well(self) -> bool:
        """Could an answer be read that another process puts?"""
        return self._reading.is_well

    async def get(self, key: bytes) -> Kept | None:
        """Return what is kept; None as well if the cache fails."""
        return await self._reading.ask(lambda: self._cache.get(key), None)

    async def put(self, key: bytes, value: bytes, life: Lifetime) -> None:
        """Keep an answer, if the cache can."""

        async def putting() -> bool:
            await self._cache.put(key, value, life.fresh_s, life.kept_s)
            return True

        if await self._writing.ask(putting, otherwise=False):
            self._held.discard(key)  # the cache has let go of the lease

    async def claim(self, key: bytes) -> bool:
        """Return whether this process makes the call; yes as well if the cache fails."""
        if not self._is_shared:
            return True

        async def claiming() -> bool:
            if not await self._cache.claim(key, self._holder, LEASE_S):
                return False
            self._held.add(key)
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew())
            return True

        return await self._writing.ask(claiming, otherwise=True)

    async def release(self, key: bytes) -> None:
        """Let others make the call, unless an answer was put."""
        if key not in self._held:
            return
        self._held.discard(key)
        await self._writing.ask(lambda: self._cache.release(key, self._holder), None)

    async def size(self) -> CacheSize | None:
        """Return how much is kept; None if the cache fails."""
        return await self._reading.ask(self._cache.size, None)

    def note_damaged(self) -> None:
        """Say once that what was kept is no answer."""
        if not self._has_damage:
            self._has_damage = True
            _log.warning("answers that were kept are damaged, so they are made again")

    async def close(self) -> None:
        """Stop renewing and close the cache; idempotent."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None
        try:
            await self._cache.close()
        except StoreError as error:
            self._note(error)

    async def _renew(self) -> None:
        """Renew three times in a lease. One that is lost is lost: both put the same."""
        while True:
            await self._clock.sleep(LEASE_S / 3)
            if self._held:
                await self._writing.ask(self._renew_all, None)

    async def _renew_all(self) -> None:
        held = list(self._held)
        claims = (self._cache.claim(key, self._holder, LEASE_S) for key in held)
        for end in await asyncio.gather(*claims, return_exceptions=True):
            if isinstance(end, StoreError):
                raise end

    def _note(self, error: StoreError) -> None:
        """Say once that the cache fails."""
        if not self._has_failed:
            self._has_failed = True
            _log.warning("the cache fails, so calls are made without it: %s", error)
