"""The files of batches in a store: facts in its documents, bytes beside them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

import msgspec

from headrace.clock import Clock
from headrace.ports import Documents, Files
from headrace.service.openai.batchfiles import NewFile

KIND = "file"
_encode = msgspec.json.Encoder().encode


class _Purpose(msgspec.Struct):
    purpose: str


class _Facts(msgspec.Struct):
    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None


_purpose = msgspec.json.Decoder(_Purpose).decode


class KeptBatchFiles:
    """Reads inputs and leaves results where the Files API finds them.

    Args:
        documents: where the facts of files are.
        files: where their bytes are.
        clock: time.
    """

    def __init__(self, documents: Documents, files: Files, clock: Clock) -> None:
        self._documents = documents
        self._files = files
        self._clock = clock

    async def purpose(self, id: str, tenant: str | None) -> str | None:
        found = await self._documents.document(KIND, id)
        if found is None or tenant not in (None, found.tenant):
            return None
        if found.expires_at is not None and found.expires_at <= self._clock.utc():
            return None
        return _purpose(found.body).purpose

    def read(self, id: str) -> AsyncIterator[bytes]:
        return self._files.read(id)

    async def put(self, new: NewFile, chunks: AsyncIterable[bytes]) -> None:
        size = await self._files.write(new.id, chunks)
        now = int(self._clock.utc())
        after_s = new.expires_after_s
        expires_at = None if after_s is None else now + after_s
        facts = _Facts(
            new.id, new.tenant, new.filename, new.purpose, size, now, expires_at
        )
        # If it stands there already, a process was killed after this: it is the same.
        await self._documents.insert(
            KIND, new.id, _encode(facts), new.tenant, expires_at
        )
