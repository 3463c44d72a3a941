"""A cache that fails is no reason to fail: then calls are made as if there were none."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

from headrace.clock import Clock
from headrace.errors import StoreError
from headrace.policies.keeping import LEASE_S, Lifetime
from headrace.ports import Cache, CacheSize, Kept

_log = logging.getLogger("headrace")


class Keeper:
    """Uses a cache, and renews the leases of the calls that this process makes.

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

    async def get(self, key: bytes) -> Kept | None:
        """Return what is kept; None as well if the cache fails."""
        try:
            return await self._cache.get(key)
        except StoreError as error:
            self._note(error)
            return None

    async def put(self, key: bytes, value: bytes, life: Lifetime) -> None:
        """Keep an answer, if the cache can."""
        try:
            await self._cache.put(key, value, life.fresh_s, life.kept_s)
        except StoreError as error:
            self._note(error)
        else:
            self._held.discard(key)  # the cache has let go of the lease

    async def claim(self, key: bytes) -> bool:
        """Return whether this process makes the call; yes as well if the cache fails."""
        if not self._is_shared:
            return True
        try:
            if not await self._cache.claim(key, self._holder, LEASE_S):
                return False
        except StoreError as error:
            self._note(error)
            return True
        self._held.add(key)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        return True

    async def release(self, key: bytes) -> None:
        """Let others make the call, unless an answer was put."""
        if key not in self._held:
            return
        self._held.discard(key)
        try:
            await self._cache.release(key, self._holder)
        except StoreError as error:
            self._note(error)

    async def size(self) -> CacheSize | None:
        """Return how much is kept; None if the cache fails."""
        try:
            return await self._cache.size()
        except StoreError as error:
            self._note(error)
            return None

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
            held = list(self._held)
            claims = (self._cache.claim(key, self._holder, LEASE_S) for key in held)
            for end in await asyncio.gather(*claims, return_exceptions=True):
                if isinstance(end, StoreError):
                    self._note(end)

    def _note(self, error: StoreError) -> None:
        """Say once that the cache fails."""
        if not self._has_failed:
            self._has_failed = True
            _log.warning("the cache fails, so calls are made without it: %s", error)
