"""What a store refuses in the names that users give their items."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import DuplicateItem
from headrace.jobs import NewItem


def check_ids(items: Sequence[NewItem], start: int) -> None:
    """Refuse a `custom_id` that stands twice among these, or that no store can keep.

    Raises:
        DuplicateItem: it stands twice.
        ValueError: it holds NUL.
    """
    ids = {new.custom_id for new in items}
    if "\0" in "".join(ids):  # one search for all of them
        raise ValueError("a custom_id holds the character NUL")
    if len(ids) == len(items):
        return
    seen: set[str] = set()
    for n, new in enumerate(items):
        if new.custom_id in seen:
            raise duplicate(new.custom_id, start + n)
        seen.add(new.custom_id)


def duplicate(custom_id: str, seq: int) -> DuplicateItem:
    """Return the error about an item that is there already."""
    message = f"custom_id {custom_id!r} stands twice; its second place is item {seq}"
    return DuplicateItem(message, custom_id=custom_id, seq=seq)
