from __future__ import annotations

import tracemalloc
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.simulation.tally import BodyCounts, ItemCounts

call_ids = st.one_of(
    st.builds(
        lambda job, seq, attempt: f"{job}-{seq}-{attempt}",
        st.sampled_from(["job", "a-b", "Ω"]),
        st.integers(min_value=0, max_value=300),
        st.integers(min_value=1, max_value=9),
    ),
    st.text(min_size=1, max_size=8),
)


def item_of(call_id: str) -> str:
    parts = call_id.rsplit("-", 2)
    numbers = all(part.isascii() and part.isdecimal() for part in parts[1:])
    if len(parts) < 3 or not numbers or not parts[0]:
        return call_id
    return f"{parts[0]}-{int(parts[1])}"


@given(st.lists(call_ids, max_size=100))
def test_items_are_counted_as_a_dictionary_would(ids: list[str]) -> None:
    counts = ItemCounts(100_000)
    for call_id in ids:
        counts.add(call_id)
    assert Counter(dict(counts)) == Counter(map(item_of, ids))


def test_a_million_items_of_a_job_take_a_few_megabytes() -> None:
    counts = ItemCounts(2_000_000)
    tracemalloc.start()
    counts.add("job-999999-1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert dict(counts) == {"job-999999": 1}


def test_what_finds_no_room_is_told_as_untracked() -> None:
    items, bodies = ItemCounts(2), BodyCounts(2)
    for n in range(5):
        items.add(f"name {n}")
        bodies.add(b"%d" % n)
    assert items.untracked == bodies.untracked == 3
    items.add("name 0")
    assert dict(items)["name 0"] == 2


def test_a_number_beyond_the_room_does_not_fill_memory() -> None:
    counts = ItemCounts(1000)
    counts.add("job-123456789012-1")
    assert dict(counts) == {"job-123456789012": 1}
