"""What is written of the use of keys: spent, used last, and which jobs wait for money.

In documents of their own: a key's own document changes when people change it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.clock import Clock
from headrace.ports import Documents

USE: Final = "keyuse"
WAITS: Final = "keywait"


class KeyUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a key was used.

    Args:
        span: of its budget that the money was spent in; "" if none was.
        nano: nano-dollars spent in it, with what processes have drawn ahead.
        used_at: UTC seconds of a request, the last one within a minute; None = none yet.
    """

    span: str = ""
    nano: int = 0
    used_at: float | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A job that was paused since its key had spent its budget.

    Args:
        key: of which it waits for money.
        job: `Job.number`.
        nano: nano-dollars that its next call may cost.
    """

    key: str
    job: int
    nano: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeyUse).decode
_waiting = msgspec.json.Decoder(Waiting).decode


class KeyBook:
    """The use of the keys of one store, shared by all its processes.

    Args:
        documents: where it is kept.
        clock: time.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def use(self, key: str) -> KeyUse:
        """Return how a key was used."""
        found = await self._documents.document(USE, key)
        return KeyUse() if found is None else _decode(found.body)

    async def book(
        self,
        key: str,
        span: str,
        nano: int,
        most: int | None = None,
        least: int = 0,
    ) -> tuple[int, int]:
        """Count money as spent; see `Ledger`."""
        while True:
            document = await self._documents.document(USE, key)
            use = KeyUse() if document is None else _decode(document.body)
            has = use.nano if use.span == span else 0
            some = nano if most is None else max(0, min(nano, most - has))
            is_over = use.span != span and (some <= 0 or _is_later(use.span, span))
            if not some or is_over or 0 < some < least:
                return 0, has
            body = _encode(KeyUse(span, max(0, has + some), use.used_at))
            if document is None:
                done = await self._documents.insert(USE, key, body)
            else:
                done = await self._documents.replace(document, body)
            if done is not None:
                return some, has + some

    async def note_use(self, key: str, at: float) -> None:
        """Note that a key was used, if nobody else does at the same moment."""
        document = await self._documents.document(USE, key)
        if document is None:
            await self._documents.insert(USE, key, _encode(KeyUse(used_at=at)))
            return
        use = _decode(document.body)
        if use.used_at is None or use.used_at < at:
            body = _encode(msgspec.structs.replace(use, used_at=at))
            await self._documents.replace(document, body)

    async def await_money(self, key: str, job: int, nano: int) -> None:
        """Note that a job waits for money, until `forget`."""
        id, body = f"{key}/{job}", _encode(Waiting(key, job, nano))
        if await self._documents.insert(WAITS, id, body) is None:
            known = await self._documents.document(WAITS, id)
            if known is not None and known.body != body:
                await self._documents.replace(known, body)

    async def waiting(self, after: int | None = None) -> list[tuple[int, Waiting]]:
        """Return a page of the jobs that wait or have waited for money, the first first.

        Args:
            after: the number that came with the last one of the page before.
        """
        found = await self._documents.documents(WAITS, after=after, oldest_first=True)
        return [(document.number, _waiting(document.body)) for document in found]

    async def forget(self, waiting: Waiting) -> None:
        """A job has ended; idempotent."""
        await self._documents.delete(WAITS, f"{waiting.key}/{waiting.job}")


def _is_later(span: str, other: str) -> bool:
    """Is a span a later one of the same kind? Names of one kind are in their order."""
    return len(span) == len(other) and span > other
