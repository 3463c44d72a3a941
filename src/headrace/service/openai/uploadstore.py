"""Uploads: files that come in parts, each kept by itself until they are put together."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Final, Literal

import msgspec

from headrace.clock import Clock
from headrace.errors import NotFound, StoreError
from headrace.ports import Document, Documents, Files
from headrace.service.errors import ApiError
from headrace.service.openai.batchfiles import NewFile, file_id_of
from headrace.service.openai.filestore import FileFacts, FileStore, new_id

KIND: Final = "upload"
PENDING_S: Final = 86_400
"""OpenAI gives an hour, and takes 8 GB at most; larger files need longer."""
REMEMBERED_S: Final = 86_400
"""For so long an upload that has ended still says how."""
MAX_PARTS: Final = 10_000
_SENT_AGAIN: Final = 2
"""Parts may hold so many times the bytes of the upload: some are sent again."""
_PAGE: Final = 500

Status = Literal["pending", "completed", "cancelled", "expired"]


class Upload(msgspec.Struct, frozen=True):
    """A file that comes in parts.

    Args:
        id: `upload_…`.
        tenant: whose it is.
        filename: of the file.
        purpose: of the file.
        bytes: of the whole file, as its client says.
        kept_s: seconds for which the file is kept; None = for ever.
        created_at: UTC seconds.
        expires_at: until then its parts must have come.
        status: only a pending one takes parts.
        file_id: of the file, once it is completed.
    """

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    kept_s: int | None
    created_at: int
    expires_at: int
    status: Status = "pending"
    file_id: str | None = None


class Part(msgspec.Struct, frozen=True):
    """Some bytes of an upload; `bytes` is None until all of them have come."""

    id: str
    upload_id: str
    created_at: int
    bytes: int | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Upload).decode
_decode_part = msgspec.json.Decoder(Part).decode


def new_upload_id() -> str:
    """Return an id that nobody can guess."""
    return new_id("upload_")


def new_part_id() -> str:
    """Return an id that nobody can guess."""
    return new_id("part_")


class Uploads:
    """The uploads of one store, under their tenants.

    Args:
        documents: where the facts are.
        files: where the bytes of parts are.
        kept: takes the files that they become.
        clock: time.

    Invariant: an upload becomes at most one file, once all its bytes are there.
    """

    def __init__(
        self, documents: Documents, files: Files, kept: FileStore, clock: Clock
    ) -> None:
        self._documents = documents
        self._files = files
        self._kept = kept
        self._clock = clock

    async def begin(self, new: Upload) -> Upload:
        """Keep a new upload; one that is there already stays, and is returned."""
        body, until = _encode(new), float(new.expires_at)
        await self._documents.insert(KIND, new.id, body, new.tenant, until)
        return await self.get(new.id, new.tenant)

    async def get(self, id: str, tenant: str | None) -> Upload:
        """Return an upload as it stands now.

        Raises:
            NotFound: this tenant has none of that id.
        """
        return (await self._find(id, tenant))[1]

    async def add(
        self, id: str, part_id: str, tenant: str | None, chunks: AsyncIterable[bytes]
    ) -> Part:
        """Keep a part.

        If `chunks` raises, or this is cancelled, nothing is left.

        Raises:
            NotFound: as `get`.
            ApiError: the upload has ended, or this is more than it may hold.
        """
        upload = await self.get(id, tenant)
        _expect_pending(upload, "add parts to")
        await self._expect_room(upload)
        part = Part(part_id, id, int(self._clock.utc()))
        kind = _parts_of(id)
        begun = await self._documents.insert(
            kind, part_id, _encode(part), upload.tenant
        )
        try:
            size = await self._files.write(part_id, _bounded(upload, chunks))
            part = msgspec.structs.replace(part, bytes=size)
            if begun is None or not await self._documents.replace(begun, _encode(part)):
                _expect_pending(await self.get(id, tenant), "add parts to")
                raise StoreError(f"part {part_id} was forgotten meanwhile")
        except BaseException:
            with suppress(StoreError):  # then they go with the upload
                await self._forget_part(kind, part_id)
            raise
        return part

    async def part(self, id: str, part_id: str) -> Part | None:
        """Return a part that has come; None if there is none of that id."""
        found = await self._documents.document(_parts_of(id), part_id)
        part = None if found is None else _decode_part(found.body)
        return None if part is None or part.bytes is None else part

    async def forget(self, part: Part) -> None:
        """Forget a part that is not wanted; idempotent."""
        await self._forget_part(_parts_of(part.upload_id), part.id)

    async def complete(
        self, id: str, tenant: str | None, part_ids: Sequence[str], md5: str | None
    ) -> Upload:
        """Put parts together in this order; idempotent for the same ones.

        A part may stand twice: one that was sent again may have the bytes of another.

        Raises:
            NotFound: as `get`.
            ApiError: it has ended otherwise, or the parts are not the file.
        """
        document, upload = await self._find(id, tenant)
        file_id = file_id_of(id, "/".join(part_ids))
        if upload.file_id == file_id:
            return upload
        _expect_pending(upload, "complete")
        await self._expect_parts(upload, part_ids)
        new = NewFile(
            file_id, upload.tenant, upload.filename, upload.purpose, upload.kept_s
        )
        try:
            await self._kept.put(new, self._joined(part_ids, md5))
        except NotFound:  # somebody else ended it meanwhile, and removed the parts
            return await self._ended(id, tenant, file_id)
        done = msgspec.structs.replace(upload, status="completed", file_id=file_id)
        if await self._end(document, done) is None:
            return await self._ended(id, tenant, file_id)
        return done

    async def _ended(self, id: str, tenant: str | None, file_id: str) -> Upload:
        """Return the upload that somebody else completed in the same way."""
        upload = await self.get(id, tenant)
        if upload.file_id != file_id:
            await self._kept.discard(file_id)
            _expect_pending(upload, "complete")
        return upload

    async def cancel(self, id: str, tenant: str | None) -> Upload:
        """Forget the parts of an upload; idempotent.

        Raises:
            NotFound: as `get`.
            ApiError: it has been completed, or has expired.
        """
        while True:
            document, upload = await self._find(id, tenant)
            if upload.status == "cancelled":
                return upload
            _expect_pending(upload, "cancel")
            gone = msgspec.structs.replace(upload, status="cancelled")
            if await self._end(document, gone) is not None:
                return gone

    async def file_of(self, upload: Upload) -> FileFacts | None:
        """Return the file that an upload became; None if there is none (any more)."""
        if upload.file_id is None:
            return None
        try:
            return await self._kept.get(upload.file_id, upload.tenant)
        except NotFound:
            return None

    async def tidy(self) -> None:
        """Forget the parts of uploads whose time is over, and later the uploads."""
        while gone := await self._documents.expired(KIND, self._clock.utc()):
            for document in gone:
                upload = _decode(document.body)
                if upload.status == "pending":
                    over = msgspec.structs.replace(upload, status="expired")
                    await self._end(document, over)
                else:
                    await self._forget_parts(upload.id)
                    await self._documents.delete(KIND, upload.id)

    # ---- documents

    async def _find(self, id: str, tenant: str | None) -> tuple[Document, Upload]:
        found = await self._documents.document(KIND, id[:64])
        if found is None or tenant not in (None, found.tenant):
            raise NotFound(f"No such Upload object: {id[:64]}")
        upload = _decode(found.body)
        if upload.status == "pending" and upload.expires_at <= self._clock.utc():
            upload = msgspec.structs.replace(upload, status="expired")
        return found, upload

    async def _end(self, document: Document, ended: Upload) -> Document | None:
        """Note how an upload has ended, and forget its parts; None if it has moved."""
        until = self._clock.utc() + REMEMBERED_S
        done = await self._documents.replace(document, _encode(ended), until)
        if done is not None:
            await self._forget_parts(ended.id)
        return done

    async def _parts(self, id: str) -> list[Part]:
        found: list[Part] = []
        after = None
        while page := await self._documents.documents(
            _parts_of(id), None, after, _PAGE, oldest_first=True
        ):
            found += [_decode_part(document.body) for document in page]
            after = page[-1].number
        return found

    async def _forget_parts(self, id: str) -> None:
        for part in await self._parts(id):
            await self._forget_part(_parts_of(id), part.id)

    async def _forget_part(self, kind: str, part_id: str) -> None:
        await self._files.delete(part_id)
        await self._documents.delete(kind, part_id)

    # ---- what is refused

    async def _expect_room(self, upload: Upload) -> None:
        parts = await self._parts(upload.id)
        most = _SENT_AGAIN * upload.bytes
        if len(parts) >= MAX_PARTS:
            raise ApiError(400, f"An upload has at most {MAX_PARTS} parts.")
        if sum(part.bytes or 0 for part in parts) > most:
            raise ApiError(
                400,
                f"The parts hold more than {most} bytes already; the upload was "
                f"begun with {upload.bytes}.",
                param="data",
            )

    async def _expect_parts(self, upload: Upload, part_ids: Sequence[str]) -> None:
        sizes = {part.id: part.bytes for part in await self._parts(upload.id)}
        for part_id in part_ids:
            if sizes.get(part_id) is None:
                raise _wrong_parts(f"There is no part '{part_id[:64]}' of this upload.")
        total = sum(sizes[part_id] or 0 for part_id in part_ids)
        if total != upload.bytes:
            raise _wrong_parts(
                f"The parts hold {total} bytes; the upload was begun with {upload.bytes}."
            )

    async def _joined(
        self, part_ids: Sequence[str], md5: str | None
    ) -> AsyncIterator[bytes]:
        """Give the bytes of all parts; refuse them in the end if they are others."""
        hasher = hashlib.md5(usedforsecurity=False)
        for part_id in part_ids:
            async with aclosing(self._files.read(part_id)) as pieces:
                async for piece in pieces:
                    if md5 is not None:
                        hasher.update(piece)
                    yield piece
        if md5 is not None and hasher.hexdigest() != md5.lower():
            raise ApiError(
                400,
                f"The md5 of the parts is {hasher.hexdigest()}, not that.",
                code="checksum_mismatch",
                param="md5",
            )


def _parts_of(id: str) -> str:
    """Return the kind of document that the parts of an upload are."""
    return f"part/{id}"


async def _bounded(
    upload: Upload, chunks: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    """Give the bytes of a part; refuse it as soon as it is larger than the upload."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > upload.bytes:
            raise ApiError(
                400,
                f"The part is larger than the upload, which was begun with "
                f"{upload.bytes} bytes.",
                param="data",
            )
        yield chunk


def _expect_pending(upload: Upload, what: str) -> None:
    if upload.status != "pending":
        raise ApiError(
            409,
            f"Cannot {what} an upload with status '{upload.status}'.",
            # The official clients would send a 409 again three times; it cannot help.
            headers={"x-should-retry": "false"},
        )


def _wrong_parts(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_value", param="part_ids")
