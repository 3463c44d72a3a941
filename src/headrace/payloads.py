"""What users hand in, as items that a store can keep."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec

from headrace.jobs import NewItem
from headrace.wire import HttpRequest, encode_request, request_of

Payloads = Iterable[Any] | AsyncIterable[Any]


class Item(msgspec.Struct, frozen=True):
    """A payload with the user's own name for it."""

    payload: Any
    custom_id: str


async def each(items: Payloads) -> AsyncIterator[Any]:
    """Give the items one by one, wherever they come from."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def new_item(item: Any, index: int) -> NewItem:
    """Return what a store keeps of a payload; its name is the index, if it has none.

    Raises:
        TypeError: it cannot be kept as JSON.
    """
    custom_id = str(index)
    if isinstance(item, Item):
        item, custom_id = item.payload, item.custom_id
    if isinstance(item, Mapping) and "url" in item and "body" in item:
        custom_id = str(item.get("custom_id", custom_id))
        item = request_of(item)
    if isinstance(item, HttpRequest):
        return NewItem(custom_id, encode_request(item))
    return NewItem(custom_id, msgspec.json.encode(item))
