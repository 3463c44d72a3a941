"""What every store must do with small records."""

from __future__ import annotations

import asyncio
from typing import Final

from headrace.testing.store_world import Check, World


async def a_document_comes_back_as_it_was_put(world: World) -> None:
    kept = world.store.documents()
    made = await kept.insert("batch", "b1", b'{"a":1}', "t", 99.5)
    assert made is not None
    assert (made.version, made.tenant, made.expires_at) == (1, "t", 99.5)
    assert await kept.document("batch", "b1") == made
    assert await kept.document("file", "b1") is None


async def an_id_is_taken_once_for_each_kind(world: World) -> None:
    kept = world.store.documents()
    first = await kept.insert("batch", "x", b"1")
    assert await kept.insert("batch", "x", b"2") is None
    assert await kept.insert("file", "x", b"3") is not None
    assert await kept.document("batch", "x") == first


async def who_read_an_older_version_changes_nothing(world: World) -> None:
    kept = world.store.documents()
    first = await kept.insert("batch", "x", b"1", "t", 5.0)
    assert first is not None
    second = await kept.replace(first, b"2", 7.0)
    assert second is not None
    assert (second.version, second.body, second.expires_at) == (2, b"2", 7.0)
    assert (second.number, second.tenant) == (first.number, "t")
    assert await kept.replace(first, b"3") is None
    assert await kept.document("batch", "x") == second


async def of_many_who_change_it_at_once_one_does(world: World) -> None:
    kept = world.store.documents()
    first = await kept.insert("batch", "x", b"1")
    assert first is not None
    changes = [kept.replace(first, str(n).encode()) for n in range(8)]
    found = await asyncio.gather(*changes)
    assert sum(each is not None for each in found) == 1


async def a_deleted_document_is_gone_and_its_id_free(world: World) -> None:
    kept = world.store.documents()
    first = await kept.insert("batch", "x", b"1")
    assert first is not None
    assert await kept.delete("batch", "x")
    assert not await kept.delete("batch", "x")
    assert await kept.replace(first, b"2") is None
    again = await kept.insert("batch", "x", b"3")
    assert again is not None
    assert again.number > first.number
    assert await kept.replace(first, b"4") is None
    assert await kept.document("batch", "x") == again


async def pages_are_newest_first_and_meet_without_a_gap(world: World) -> None:
    kept = world.store.documents()
    for n in range(7):
        await kept.insert("batch", f"b{n}", b"", "even" if n % 2 == 0 else "odd")
        await kept.insert("file", f"f{n}", b"", "even")
    found: list[str] = []
    after = None
    while page := await kept.documents("batch", after=after, limit=3):
        found += [each.id for each in page]
        after = page[-1].number
    assert found == [f"b{n}" for n in reversed(range(7))]
    even = await kept.documents("batch", "even", oldest_first=True, limit=2)
    assert [each.id for each in even] == ["b0", "b2"]
    more = await kept.documents(
        "batch", "even", even[-1].number, oldest_first=True, limit=9
    )
    assert [each.id for each in more] == ["b4", "b6"]


async def whose_time_is_over_is_told_and_still_there(world: World) -> None:
    kept = world.store.documents()
    for n, at in enumerate((30.0, 10.0, None, 20.0)):
        await kept.insert("file", f"f{n}", b"", expires_at=at)
    found = await kept.expired("file", 20.0)
    assert [each.id for each in found] == ["f1", "f3"]
    assert [each.id for each in await kept.expired("file", 99.0, limit=1)] == ["f1"]
    assert await kept.document("file", "f1") is not None


CHECKS: Final[tuple[Check, ...]] = (
    a_document_comes_back_as_it_was_put,
    an_id_is_taken_once_for_each_kind,
    who_read_an_older_version_changes_nothing,
    of_many_who_change_it_at_once_one_does,
    a_deleted_document_is_gone_and_its_id_free,
    pages_are_newest_first_and_meet_without_a_gap,
    whose_time_is_over_is_told_and_still_there,
)
