"""Which endpoint gets the next call."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.balance import Candidate, choose_headroom

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.integers(0, 99),
        st.integers(0, 20),
        st.integers(1, 20),
        st.floats(0, 1),
        st.floats(0.1, 10),
    ),
    max_size=8,
    unique_by=lambda c: c.index,
)


def test_the_one_with_the_most_free_slots_is_chosen():
    busy, free = Candidate(0, 8, 10, 1.0, 1.0), Candidate(1, 2, 10, 1.0, 1.0)
    assert choose_headroom([busy, free], 0) == 1


def test_the_tightest_limit_of_each_is_what_counts():
    no_rate, some = Candidate(0, 0, 10, 0.1, 1.0), Candidate(1, 7, 10, 0.9, 1.0)
    assert choose_headroom([no_rate, some], 0) == 1


def test_weight_multiplies_the_room():
    light, heavy = Candidate(0, 0, 10, 1.0, 1.0), Candidate(1, 5, 10, 1.0, 3.0)
    assert choose_headroom([light, heavy], 0) == 1


def test_an_endpoint_whose_rate_is_used_up_still_serves_if_it_is_the_only_one():
    assert choose_headroom([Candidate(4, 0, 10, 0.0, 1.0)], 0) == 4


def test_nobody_is_chosen_without_a_free_slot():
    assert choose_headroom([Candidate(0, 10, 10, 1.0, 1.0)], 0) is None
    assert choose_headroom([], 0) is None


def test_equals_take_turns():
    equal = [Candidate(i, 0, 10, 1.0, 1.0) for i in range(3)]
    chosen = Counter(choose_headroom(equal, turn) for turn in range(300))
    assert set(chosen.values()) == {100}


@pytest.mark.slow
@given(CANDIDATES, st.integers(0, 1000))
def test_the_chosen_one_has_a_slot_and_nobody_has_more_room(candidates, turn):
    index = choose_headroom(candidates, turn)
    free = {c.index: c for c in candidates if c.in_flight < c.limit}
    assert (index is None) == (not free)
    if index is not None:
        room = {
            i: c.weight * min((c.limit - c.in_flight) / c.limit, c.rate_headroom)
            for i, c in free.items()
        }
        assert room[index] == max(room.values())
