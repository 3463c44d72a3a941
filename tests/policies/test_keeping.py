"""When a cache that failed is asked again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.keeping import REST_S, Rest


def test_a_cache_that_is_well_is_always_asked() -> None:
    rest = Rest()
    assert rest.allows(5.0)
    assert rest.asked(5.0) is rest
    assert rest.answered() is rest


def test_a_cache_that_failed_is_left_alone() -> None:
    rest = Rest().failed(100.0)
    assert not rest.allows(100.0)
    assert not rest.allows(99.9 + REST_S)
    assert rest.allows(100.0 + REST_S)


def test_an_answer_ends_the_rest() -> None:
    assert Rest().failed(100.0).answered().allows(100.0)


@given(st.lists(st.floats(0.0, 20.0), max_size=200))
def test_one_caller_in_a_rest_looks_for_all(gaps: list[float]) -> None:
    now, rest, asked = 0.0, Rest().failed(0.0), [0.0]
    for gap in gaps:
        now += gap
        if rest.allows(now):
            asked.append(now)
            rest = rest.asked(now)
    assert all(later >= before + REST_S for before, later in pairwise(asked))
