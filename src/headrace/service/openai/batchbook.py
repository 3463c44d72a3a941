"""The documents of batches, and who sees which of them to its end.

Beside its document each batch that has not ended has a second one, which says who holds
it. So finding the unfinished ones takes no longer when a million have ended.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import msgspec

from headrace.errors import NotFound
from headrace.ports.documents import Document, Documents
from headrace.service.openai.batch import KIND, Batch

OPEN_KIND = "batch_open"
_PAGE = 100
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_encode = msgspec.json.Encoder().encode


class Hold(msgspec.Struct, frozen=True):
    """Who sees a batch to its end, and how long nobody else may."""

    holder: str = ""
    until: float = 0.0
    """UTC seconds."""


_batch = msgspec.json.Decoder(Batch).decode
_hold = msgspec.json.Decoder(Hold).decode


def new_batch_id() -> str:
    """Return an id that nobody can guess."""
    return "batch_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))


def hold_of(document: Document) -> Hold:
    """Return what the second document of a batch says."""
    return _hold(document.body)


class BatchBook:
    """Batches as documents of a store."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def add(self, batch: Batch, hold: Hold) -> bool:
        """Keep a new batch, held; from now on it will be seen to its end.

        Returns:
            False, and nothing is changed, if there is one of that id.
        """
        if await self._documents.document(KIND, batch.id) is not None:
            return False
        # The second one first: a batch without it would never begin.
        await self._documents.insert(OPEN_KIND, batch.id, _encode(hold), batch.tenant)
        made = await self._documents.insert(
            KIND, batch.id, _encode(batch), batch.tenant
        )
        return made is not None

    async def find(self, id: str) -> Batch | None:
        """Return a batch; None if there is none."""
        document = await self._documents.document(KIND, id)
        return None if document is None else _batch(document.body)

    async def page(
        self, tenant: str | None, after: str | None, limit: int
    ) -> tuple[list[Batch], bool]:
        """Return batches, newest first, and whether there are more.

        Args:
            tenant: of whom; None = of all.
            after: id of the batch to go on after.
            limit: at most so many, >= 1.

        Raises:
            NotFound: this tenant has no batch `after`.
        """
        number = None
        if after is not None:
            last = await self._documents.document(KIND, after)
            if last is None or tenant not in (None, last.tenant):
                raise NotFound(f"No batch found with id '{after}'.")
            number = last.number
        found = await self._documents.documents(KIND, tenant, number, limit + 1)
        return [_batch(d.body) for d in found[:limit]], len(found) > limit

    async def change(self, id: str, step: Callable[[Batch], Batch]) -> Batch:
        """Take a step from wherever the batch is now; return what it became.

        Raises:
            NotFound: it is gone.
            WrongState: `step` refuses the batch as it is now.
        """
        while True:
            old = await self._documents.document(KIND, id)
            if old is None:
                raise NotFound(f"No batch found with id '{id}'.")
            before = _batch(old.body)
            after = step(before)
            if after is before:
                return before
            if await self._documents.replace(old, _encode(after)) is not None:
                return after

    # ---- who sees them to their end

    async def unfinished(self) -> list[Document]:
        """Return the second documents of all batches that have not ended."""
        found: list[Document] = []
        last: int | None = None
        while page := await self._documents.documents(
            OPEN_KIND, after=last, limit=_PAGE, oldest_first=True
        ):
            found += page
            last = page[-1].number
        return found

    async def hold(self, open_: Document, hold: Hold) -> Document | None:
        """Hold a batch, or let go of it; None if somebody else was faster."""
        return await self._documents.replace(open_, _encode(hold))

    async def close(self, id: str) -> None:
        """Nobody needs to look after this batch any more; idempotent."""
        await self._documents.delete(OPEN_KIND, id)

    async def inputs(self) -> set[str]:
        """Return the ids of the inputs of all batches that have not ended."""
        found: set[str] = set()
        for open_ in await self.unfinished():
            batch = await self.find(open_.id)
            if batch is not None:
                found.add(batch.input_file_id)
        return found

    async def ended_before(self, until: float) -> AsyncIterator[Batch]:
        """Give the batches that ended before a moment (UTC seconds), oldest first."""
        last = None
        while page := await self._documents.documents(
            KIND, after=last, limit=_PAGE, oldest_first=True
        ):
            last = page[-1].number
            for document in page:
                batch = _batch(document.body)
                if batch.ended_at is not None and batch.ended_at < until:
                    yield batch

    async def forget(self, id: str) -> None:
        """Forget a batch that has ended; idempotent."""
        await self._documents.delete(KIND, id)
