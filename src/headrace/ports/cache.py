"""What keeps answers: the contract of every cache."""

from __future__ import annotations

from typing import Protocol

import msgspec


class CacheSize(msgspec.Struct, frozen=True):
    """How much is kept."""

    entries: int
    bytes: int
    hits: int
    """How often the answers that are still kept were given again."""


class Kept(msgspec.Struct, frozen=True):
    """An answer as it was kept."""

    value: bytes
    is_fresh: bool
    """False: its time is over, and it is kept for the case that a new call fails."""


class Cache(Protocol):
    """Keeps answers under keys, and says who may make the one that is missing.

    Every method raises `StoreError` if the place fails; then the answer is made.
    """

    async def get(self, key: bytes) -> Kept | None:
        """Return what was put under the key, the last of it, unless it is over."""
        ...

    async def put(
        self, key: bytes, value: bytes, fresh_s: float | None, kept_s: float | None
    ) -> None:
        """Keep a value, and let go of the key's lease, whoever holds it; idempotent.

        What is kept is bounded in bytes: the least recently used goes first.

        Args:
            key: 32 bytes.
            value: any bytes, also none.
            fresh_s: how long it is good for; None = for ever.
            kept_s: how long it is kept, >= `fresh_s`; None = for ever.
        """
        ...

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        """Take or renew the lease of a key: at most one holder has it at a time.

        Returns:
            False if another holds it, or if a fresh value is there by now.
        """
        ...

    async def release(self, key: bytes, holder: str) -> None:
        """Let go of a lease; nothing happens if another holds it; idempotent."""
        ...

    async def size(self) -> CacheSize:
        """Return how much is kept now."""
        ...

    async def clear(self) -> None:
        """Forget everything that is kept; leases stay."""
        ...

    async def close(self) -> None:
        """Finish what was begun and give everything back; idempotent."""
        ...
