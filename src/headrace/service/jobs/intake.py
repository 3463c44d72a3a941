"""The items of a job as they are sent: a JSON list, or JSON lines as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from fastapi import Request

from headrace.config import ServeSettings
from headrace.jsonl.badline import BadLine
from headrace.jsonl.careful import LineRules
from headrace.jsonl.lines import LineParser
from headrace.jsonl.reading import Oversized, Splitter
from headrace.payloads import Item
from headrace.service.errors import ApiError

JSON = "application/json"
LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def items_of(request: Request, settings: ServeSettings) -> AsyncIterator[Item]:
    """Give the items of a request's body, as they come.

    Raises:
        ApiError: 415 for a body of another type; while reading 400 for what is no item,
            which it names by its line or its place in the list, from 1.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media in LINES:
        return _items(_lines(request, settings), "line", settings)
    if media == JSON:
        return _items(_listed(request, settings), "item", settings)
    raise ApiError(
        415,
        f"content-type: given {media[:80]!r}, allowed {', '.join((JSON, *LINES))}",
        code="unsupported_media_type",
        param="content-type",
    )


async def _items(
    lines: AsyncIterator[bytes | Oversized], word: str, settings: ServeSettings
) -> AsyncIterator[Item]:
    parser = LineParser("", LineRules(), settings.max_line_bytes)
    number = count = 0
    async for line in lines:
        number += 1
        found = parser.parse(line, number)
        if isinstance(found, BadLine):
            raise ApiError(
                400,
                f"{word} {number}: {found.message}",
                code="invalid_item",
                param=found.field.strip('"') or None,
            )
        if found is not None:
            count += 1
            custom_id, payload = found
            yield Item(payload, custom_id)
    if not count:
        raise ApiError(400, "items: given none, allowed at least one", code="empty_job")


async def _lines(
    request: Request, settings: ServeSettings
) -> AsyncIterator[bytes | Oversized]:
    splitter = Splitter(settings.max_line_bytes)
    async for data in request.stream():
        for line in splitter.feed(data):
            yield line
    for line in splitter.rest():
        yield line


async def _listed(
    request: Request, settings: ServeSettings
) -> AsyncIterator[bytes | Oversized]:
    most, body = settings.max_body_bytes, bytearray()
    async for data in request.stream():
        body += data
        if len(body) > most:
            raise ApiError(
                413,
                f"a list may have {most} bytes; send more as lines, {LINES[0]}",
                code="body_too_large",
            )
    try:
        found = _list(bytes(body))
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400, f"the body is not a JSON list: {error}", code="invalid_json"
        ) from None
    for raw in found:
        yield bytes(raw)
