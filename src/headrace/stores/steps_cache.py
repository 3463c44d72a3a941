"""What is done to kept answers: each function is one transaction, or a part of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.ports import CacheSize, Kept
from headrace.stores import statements_cache as of_cache
from headrace.stores.statement import Query, Steps

OVERHEAD_BYTES: Final = 200
"""What a row takes beside its value, with its indexes (measured, SQLite)."""

_DROPPED: Final = 1_000
"""Values dropped in one go, the least recently used first."""


class Putting(msgspec.Struct, frozen=True):
    """A value on its way into the cache."""

    key: bytes
    value: bytes
    fresh_s: float | None
    kept_s: float | None

    @property
    def size(self) -> int:
        return len(self.value) + OVERHEAD_BYTES


def get(key: bytes) -> Steps[Kept | None]:
    """Return the value of a key, unless its time is over."""
    rows = yield Query(of_cache.get, {"key": key})
    return Kept(bytes(rows[0][0]), bool(rows[0][1])) if rows else None


def put(new: Putting) -> Steps[None]:
    """Keep a value, and let go of its lease."""
    given = {
        "key": new.key,
        "value": new.value,
        "size": new.size,
        "fresh_s": new.fresh_s,
        "kept_s": new.kept_s,
    }
    yield Query(of_cache.put, given)
    yield from free(new.key)


def claim(key: bytes, holder: str, lease_s: float) -> Steps[bool]:
    """Take a lease, unless another has it or the value has come.

    The value is looked for last: who waited for the row of the lease sees then what the
    former holder put.
    """
    given = {"key": key, "holder": holder, "lease_s": lease_s}
    if not (yield Query(of_cache.claim, given)):
        return False
    if not (yield Query(of_cache.fresh, {"key": key})):
        return True
    yield Query(of_cache.release, {"key": key, "holder": holder})
    return False


def free(key: bytes) -> Steps[None]:
    """Let go of a lease, whoever holds it."""
    yield Query(of_cache.free, {"key": key})


def release(key: bytes, holder: str) -> Steps[None]:
    """Let go of a lease."""
    yield Query(of_cache.release, {"key": key, "holder": holder})


def touch(used: Mapping[bytes, int]) -> Steps[None]:
    """Note which values were given again, in one order for all processes."""
    for key, more in sorted(used.items()):
        yield Query(of_cache.touch, {"key": key, "more": more})


def size() -> Steps[CacheSize]:
    """Return how much is kept."""
    rows = yield Query(of_cache.size)
    entries, total, hits = rows[0]
    return CacheSize(int(entries), int(total), int(hits))


def prune(max_bytes: int) -> Steps[None]:
    """Forget what is over, and the least recently used beyond the bound."""
    yield Query(of_cache.ended)
    yield Query(of_cache.ended_leases)
    total = (yield from size()).bytes
    while total > max_bytes:
        rows = yield Query(of_cache.least_used, {"limit": _DROPPED})
        if not rows:
            return
        last = rows[0][0]
        for last, size_ in rows:  # noqa: B007  the last one dropped is needed
            total -= size_
            if total <= max_bytes:
                break
        yield Query(of_cache.drop_unused, {"used_at": last})


def clear() -> Steps[None]:
    """Forget every value."""
    yield Query(of_cache.clear)
