"""Creates that a client sends again because it did not hear the answer.

The official clients send no idempotency key, but say how often they have sent a request
(`x-stainless-retry-count`). So a repeat is told from an equal wish: only who says that it
asks again gets what it made before.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from headrace.clock import Clock
from headrace.ports import Documents

KIND: Final = "repeat"
KEPT_S: Final = 600.0
_PRUNED_AT_ONCE = 10


class _Made(msgspec.Struct, frozen=True):
    id: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Made).decode


def is_repeat(headers: Mapping[str, str]) -> bool:
    """Say whether a client sends this request again."""
    count = headers.get("x-stainless-retry-count", "")
    return count.isdecimal() and count.isascii() and count.strip("0") != ""


def request_key(who: str, path: str, body: bytes) -> str:
    """Return what equal requests of the same key have in common.

    Args:
        who: key and tenant of whoever asks.
        path: what is asked for.
        body: of the request, or a digest of it.
    """
    hasher = blake2b(digest_size=24)
    for part in (who.encode(), path.encode(), body):
        hasher.update(b"%d:" % len(part))
        hasher.update(part)
    return hasher.hexdigest()


class Repeats:
    """What requests have made in the last ten minutes.

    Args:
        documents: where it is noted, for every process and over restarts.
        clock: time.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def former(self, key: str) -> str | None:
        """Return the id that an equal request was given; None if there was none.

        Args:
            key: of `request_key`.
        """
        found = await self._documents.document(KIND, key)
        if found is None or (found.expires_at or 0.0) <= self._clock.utc():
            return None
        return _decode(found.body).id

    async def note(self, key: str, id: str) -> None:
        """Note the id that a request is given, before what it stands for is made.

        So a repeat that comes while the first is still being answered finds it too.
        """
        await self._forget(_PRUNED_AT_ONCE)
        body, until = _encode(_Made(id)), self._clock.utc() + KEPT_S
        while await self._documents.insert(KIND, key, body, "", until) is None:
            known = await self._documents.document(KIND, key)
            if known is None:
                continue
            if await self._documents.replace(known, body, until) is not None:
                return

    async def tidy(self) -> None:
        """Forget all whose time is over."""
        while await self._forget(_PRUNED_AT_ONCE):
            pass

    async def _forget(self, most: int) -> int:
        old = await self._documents.expired(KIND, self._clock.utc(), most)
        for document in old:
            await self._documents.delete(KIND, document.id)
        return len(old)
