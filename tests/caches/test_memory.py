from __future__ import annotations

import asyncio

import pytest

from headrace.caches.memory import MemoryCache
from headrace.testing.cache_contract import BOUNDED, CHECKS, MAX_BYTES, Check
from headrace.testing.clocks import MovableClock


class TriedCache:
    def __init__(self) -> None:
        self._clock = MovableClock()
        self.cache = MemoryCache(self._clock, MAX_BYTES)

    async def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.mark.parametrize("check", CHECKS + BOUNDED, ids=lambda check: check.__name__)
def test_the_cache_keeps_its_contract(check: Check) -> None:
    asyncio.run(check(TriedCache()))
