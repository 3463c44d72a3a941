from __future__ import annotations

import pytest

from headrace.service.repeats import KEPT_S, Repeats, is_repeat, request_key
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore


@pytest.mark.parametrize(
    ("count", "wanted"),
    [("", False), ("0", False), ("00", False), ("1", True), ("10", True), ("x", False)],
)
def test_only_who_says_that_it_asks_again_does(count: str, *, wanted: bool) -> None:
    assert is_repeat({"x-stainless-retry-count": count}) is wanted


def test_no_parts_of_other_lengths_make_the_same_key() -> None:
    assert request_key("ab", "c", b"d") != request_key("a", "bc", b"d")


def test_what_was_made_is_known_for_ten_minutes_and_then_forgotten() -> None:
    async def main() -> list[str | None]:
        clock = VirtualClock()
        store = MemoryStore(clock)
        repeats = Repeats(store.documents(), clock)
        found = [await repeats.former("k")]
        await repeats.note("k", "one")
        await repeats.note("k", "two")
        await clock.sleep(KEPT_S - 1)
        found.append(await repeats.former("k"))
        await clock.sleep(2)
        found.append(await repeats.former("k"))
        await repeats.note("other", "three")
        assert await store.documents().document("repeat", "k") is None
        return found

    assert run_virtual(main()) == [None, "two", None]
