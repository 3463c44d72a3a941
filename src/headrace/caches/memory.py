"""Answers kept in the memory of one process, the least recently used dropped first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from headrace.clock import Clock
from headrace.ports import CacheSize, Kept

MAX_BYTES: Final = 256 * 2**20
"""Of keys and packed answers, some 200,000 of the usual size."""

OVERHEAD_BYTES: Final = 400
"""What an entry takes beside its value (measured, Python 3.11)."""


class _Entry(msgspec.Struct):
    value: bytes
    fresh_until: float | None
    kept_until: float | None
    hits: int = 0

    @property
    def bytes(self) -> int:
        return len(self.value) + OVERHEAD_BYTES


class MemoryCache:
    """The `Cache` of `ports` in memory; belongs to one event loop.

    Args:
        clock: time.
        max_bytes: what it may take, > 0; a value that is larger is not kept.
    """

    def __init__(self, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._leases: dict[bytes, tuple[str, float]] = {}
        self._bytes = 0

    async def get(self, key: bytes) -> Kept | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock.utc()
        if entry.kept_until is not None and now >= entry.kept_until:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        entry.hits += 1
        return Kept(entry.value, entry.fresh_until is None or now < entry.fresh_until)

    async def put(
        self, key: bytes, value: bytes, fresh_s: float | None, kept_s: float | None
    ) -> None:
        self._leases.pop(key, None)
        if key in self._entries:
            self._drop(key)
        now = self._clock.utc()
        entry = _Entry(value, _after(now, fresh_s), _after(now, kept_s))
        if entry.bytes > self._max_bytes:
            return
        self._entries[key] = entry
        self._bytes += entry.bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        now = self._clock.utc()
        entry = self._entries.get(key)
        if entry is not None and (entry.fresh_until is None or now < entry.fresh_until):
            return False
        held = self._leases.get(key)
        if held is not None and held[0] != holder and now < held[1]:
            return False
        self._leases[key] = (holder, now + lease_s)
        return True

    async def release(self, key: bytes, holder: str) -> None:
        held = self._leases.get(key)
        if held is not None and held[0] == holder:
            del self._leases[key]

    async def size(self) -> CacheSize:
        hits = sum(entry.hits for entry in self._entries.values())
        return CacheSize(len(self._entries), self._bytes, hits)

    async def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    async def close(self) -> None:
        """Nothing is held open."""

    def _drop(self, key: bytes) -> None:
        self._bytes -= self._entries.pop(key).bytes


def _after(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now + seconds
