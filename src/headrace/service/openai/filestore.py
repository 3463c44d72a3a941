"""The files of a service: facts in documents of its store, bytes beside them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Container,
)
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Final, Literal

import msgspec

from headrace.clock import Clock
from headrace.errors import NotFound, StoreError
from headrace.ports import Document, Documents, Files
from headrace.service.beside import beside
from headrace.service.openai.batchfiles import NewFile

_log = logging.getLogger("headrace.service")
KIND: Final = "file"
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_UPLOAD_S: Final = 86_400.0
"""An upload that takes longer was cut off by a kill."""
_TIDY_S: Final = 60.0
_IN_USE_S: Final = 60.0
"""After so long it is looked at again whether an expired file is still in use."""
_PAGE: Final = 500


InUse = Callable[[], Awaitable[Container[str]]]


class FileFacts(msgspec.Struct, frozen=True):
    """What is known of a file beside its bytes."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    """UTC seconds."""
    expires_at: int | None = None
    status: Literal["uploading", "processed"] = "processed"
    """Who is still uploading it is told to nobody."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(FileFacts).decode


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))


def new_file_id() -> str:
    """Return an id for a file."""
    return new_id("file-")


class FileStore:
    """Keeps files under their tenants; also what batches read and leave.

    Args:
        documents: where the facts are.
        files: where the bytes are.
        clock: time.

    Invariant: a file is seen once it is whole, and by its own tenant only.
    """

    def __init__(self, documents: Documents, files: Files, clock: Clock) -> None:
        self._documents = documents
        self._files = files
        self._clock = clock

    async def upload(self, id: str, tenant: str, chunks: AsyncIterable[bytes]) -> int:
        """Keep the bytes of a file that nobody sees yet; `publish` or `discard` it.

        If `chunks` raises, or this is cancelled, nothing is left.

        Args:
            id: of `new_file_id`.
            tenant: whose it will be.
            chunks: the bytes as they come.

        Returns:
            Its size in bytes.
        """
        now = self._clock.utc()
        facts = FileFacts(id, tenant, "", "", 0, int(now), status="uploading")
        body = _encode(facts)
        await self._documents.insert(KIND, id, body, tenant, now + _UPLOAD_S)
        try:
            return await self._files.write(id, chunks)
        except BaseException:
            with suppress(StoreError):  # then `tidy` forgets it
                await asyncio.shield(self.discard(id))
            raise

    async def publish(self, facts: FileFacts) -> None:
        """Let an uploaded file be seen.

        Raises:
            StoreError: it was forgotten meanwhile, since it took too long.
        """
        found = await self._documents.document(KIND, facts.id)
        if found is None:
            await self._files.delete(facts.id)
            raise StoreError(f"files: {facts.id} came too slowly; send it again")
        await self._documents.replace(found, _encode(facts), facts.expires_at)

    async def discard(self, id: str) -> None:
        """Forget an upload that is not wanted; idempotent.

        The facts go last: while the bytes cannot be removed, it can be asked for again.
        """
        await self._files.delete(id)
        await self._documents.delete(KIND, id)

    async def get(self, id: str, tenant: str | None) -> FileFacts:
        """Return the facts of a file.

        Args:
            id: any text.
            tenant: whose it must be; None = anybody's.

        Raises:
            NotFound: this tenant has none of that id, or its time is over.
        """
        found = await self._documents.document(KIND, id[:64])
        if found is None or not self._is_seen(found, tenant):
            raise NotFound(f"No such File object: {id[:64]}")
        return _decode(found.body)

    async def newest(
        self, tenant: str | None, purpose: str | None, after: str | None, limit: int
    ) -> tuple[list[FileFacts], bool]:
        """Return files, newest first, and whether there are more."""
        return await self._list(tenant, purpose, after, limit, oldest_first=False)

    async def oldest(
        self, tenant: str | None, purpose: str | None, after: str | None, limit: int
    ) -> tuple[list[FileFacts], bool]:
        """Return files, oldest first, and whether there are more."""
        return await self._list(tenant, purpose, after, limit, oldest_first=True)

    async def _list(
        self,
        tenant: str | None,
        purpose: str | None,
        after: str | None,
        limit: int,
        *,
        oldest_first: bool,
    ) -> tuple[list[FileFacts], bool]:
        at = None
        if after is not None:
            start = await self._documents.document(KIND, after)
            if start is None or not self._is_seen(start, tenant):
                raise NotFound(f"No such File object: {after[:64]}")
            at = start.number
        found: list[FileFacts] = []
        while len(found) <= limit:
            page = await self._documents.documents(
                KIND, tenant, at, _PAGE, oldest_first=oldest_first
            )
            seen = [_decode(d.body) for d in page if self._is_seen(d, tenant)]
            found += [f for f in seen if purpose in (None, f.purpose)]
            if len(page) < _PAGE:
                break
            at = page[-1].number
        return found[:limit], len(found) > limit

    async def content(self, id: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Give a file's bytes; who stops before the end must call `aclose`.

        Raises (at the first piece):
            NotFound: it is gone.
            StoreError: it should be there, but its bytes are not where they were left.
        """
        try:
            async with aclosing(self._files.read(id, start)) as pieces:
                async for piece in pieces:
                    yield piece
        except NotFound as error:
            if await self._documents.document(KIND, id) is None:
                raise
            message = f"files: the bytes of {id} were removed by somebody else"
            raise StoreError(message) from error

    async def delete(self, id: str, tenant: str | None) -> None:
        """Forget a file.

        Raises:
            NotFound: as `get`.
        """
        await self.get(id, tenant)
        await self.discard(id)

    async def tidy(self, in_use: InUse) -> int:
        """Forget files whose time is over; return how many.

        What is in use then is not seen any more, but its bytes stay until it is not.
        """
        count, now, used = 0, self._clock.utc(), None
        while gone := await self._documents.expired(KIND, now):
            used = await in_use() if used is None else used
            for document in gone:
                if document.id in used:
                    later = now + _IN_USE_S
                    await self._documents.replace(document, document.body, later)
                else:
                    await self.discard(document.id)
                    count += 1
        return count

    def tidied(
        self, in_use: InUse, also: Callable[[], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Forget files in time while the block lasts.

        Args:
            in_use: returns the ids of files that somebody still needs.
            also: what else is to be tidied about once a minute.
        """
        return beside(self._keep_tidy(in_use, also))

    async def _keep_tidy(
        self, in_use: InUse, also: Callable[[], Awaitable[None]]
    ) -> None:
        while True:
            try:
                await self._files.tidy()
                await also()
                await self.tidy(in_use)
            except StoreError as error:
                _log.warning("files are tidied later: %s", error)
            await self._clock.sleep(_TIDY_S)

    def _is_seen(self, document: Document, tenant: str | None) -> bool:
        if tenant not in (None, document.tenant):
            return False
        facts = _decode(document.body)
        if facts.expires_at is not None and facts.expires_at <= self._clock.utc():
            return False
        return facts.status == "processed"

    # ---- what batches need

    async def purpose(self, id: str, tenant: str | None) -> str | None:
        """Return what a file is for; None if this tenant has none of that id."""
        try:
            return (await self.get(id, tenant)).purpose
        except NotFound:
            return None

    async def is_kept(self, id: str, tenant: str) -> bool:
        """Are the bytes of a file there, though its time may be over?"""
        found = await self._documents.document(KIND, id)
        return found is not None and found.tenant == tenant

    def read(self, id: str) -> AsyncIterator[bytes]:
        """Give a file's bytes, as `content`."""
        return self.content(id)

    async def put(self, new: NewFile, chunks: AsyncIterable[bytes]) -> None:
        """Keep a file that the service makes, in place of one with the same id."""
        size = await self._files.write(new.id, chunks)
        now = int(self._clock.utc())
        after_s = new.expires_after_s
        expires_at = None if after_s is None else now + after_s
        facts = FileFacts(
            new.id, new.tenant, new.filename, new.purpose, size, now, expires_at
        )
        # If it stands there already, a process was killed after this: it is the same.
        body = _encode(facts)
        await self._documents.insert(KIND, new.id, body, new.tenant, expires_at)
