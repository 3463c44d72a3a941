"""The answer that gives a file's bytes, or a part of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

from headrace.errors import NotFound, StoreError
from headrace.service.errors import ApiError
from headrace.service.openai.filestore import FileFacts, FileStore
from headrace.service.openai.ranges import Part, part_of
from headrace.service.presence import ClientGone, Presence

_log = logging.getLogger("headrace.service")
KIND = "application/octet-stream"


class Asked(msgspec.Struct, frozen=True):
    """Which bytes of a file a client wants: the headers of these names."""

    range: str | None = None
    if_range: str | None = None
    none_match: str | None = None


def content_answer(
    store: FileStore, facts: FileFacts, asked: Asked, *, is_head: bool
) -> Response:
    """Return the answer to whoever asks for a file's bytes.

    Args:
        store: where they are.
        facts: of the file.
        asked: which of its bytes.
        is_head: give the headers only.

    Raises:
        ApiError: 416: no byte of it is asked for.
    """
    tag = f'"{facts.id}"'  # the bytes under an id never change
    headers = {"etag": tag, "accept-ranges": "bytes"}
    if tag in _tags(asked.none_match or ""):
        return Response(status_code=304, headers=headers)
    is_same = asked.if_range in (None, tag)
    try:
        part = part_of(asked.range if is_same else None, facts.bytes)
    except ValueError as error:
        found = {"content-range": f"bytes */{facts.bytes}"}
        raise ApiError(416, str(error), code="invalid_range", headers=found) from None
    status = 200
    if part is None:
        part = Part(0, facts.bytes, facts.bytes)
    else:
        status, headers["content-range"] = 206, part.content_range
    headers["content-length"] = str(part.length)
    if is_head:
        return Response(status_code=status, headers=headers, media_type=KIND)
    return ContentAnswer(_bytes_of(store, facts.id, part), status, headers)


def _tags(given: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in given.split(",")]


async def _bytes_of(
    store: FileStore, id: str, part: Part
) -> AsyncGenerator[bytes, None]:
    left = part.length
    async with aclosing(store.content(id, part.start)) as pieces:
        async for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return


class ContentAnswer(Response):
    """A file's bytes, as they are read.

    Nothing is answered before the first of them are there, so that a place that fails
    is told in the envelope. If it fails later, the connection is cut: the client has
    fewer bytes than `content-length` says.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], status: int, headers: dict[str, str]
    ) -> None:
        self._pieces = pieces
        self.status_code = status
        self.background = None
        self.init_headers({**headers, "content-type": KIND})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            first = await _first_of(pieces)
            try:
                with Presence(receive):
                    await self._answer(first, pieces, send)
            except ClientGone:
                pass
            except (StoreError, NotFound) as error:
                _log.error("a file's content broke off: %s", error)

    async def _answer(
        self, first: bytes, rest: AsyncIterator[bytes], send: Send
    ) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        body = {"type": "http.response.body", "more_body": True}
        await send({**body, "body": first})
        async for piece in rest:
            await send({**body, "body": piece})
        await send({**body, "body": b"", "more_body": False})


async def _first_of(pieces: AsyncIterator[bytes]) -> bytes:
    """Return the first piece; empty if there is none."""
    try:
        return await anext(pieces, b"")
    except NotFound as error:
        raise ApiError(404, str(error), param="id") from None
