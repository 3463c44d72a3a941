"""When a second call is worth making, and how many there may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.model import Cost
from headrace.policies.hedge import Durations, HedgeBook, is_spare
from headrace.terms import Hedge


def a_book(durations: list[float], cost: Cost = Cost(), **rules: float) -> HedgeBook:
    book = HedgeBook(Hedge(**{"min_s": 0.0, "min_samples": 20, **rules}))  # type: ignore[arg-type]
    for seconds in durations:
        book = book.observe(cost, seconds)
    return book


def test_nothing_counts_as_slow_before_enough_is_known() -> None:
    assert a_book([1.0] * 19).delay_s(Cost()) is None
    assert a_book([1.0] * 20).delay_s(Cost()) is not None


@given(st.lists(st.floats(0.002, 1_000), min_size=40, max_size=40))
def test_the_delay_is_the_quantile_within_its_buckets(durations: list[float]) -> None:
    delay_s = a_book(durations, quantile=0.75).delay_s(Cost())
    assert delay_s is not None
    ordered = sorted(durations)
    assert ordered[28] / 1.001 <= delay_s <= ordered[30] * 1.11


def test_it_is_never_shorter_than_stated() -> None:
    assert a_book([0.1] * 50, min_s=1.0).delay_s(Cost()) == 1.0


def test_long_answers_are_expected_to_take_longer() -> None:
    book = a_book([1.0] * 100, Cost(10, 16))
    for _ in range(100):
        book = book.observe(Cost(10, 4_000), 30.0)
    short_s, long_s = book.delay_s(Cost(10, 20)), book.delay_s(Cost(10, 4_000))
    assert short_s is not None
    assert long_s is not None
    assert (short_s < 1.2, long_s > 29) == (True, True)


def test_a_change_is_followed() -> None:
    seen = Durations()
    for seconds in [10.0] * 3_000 + [1.0] * 3_000:
        seen = seen.observe(seconds, 0.95)
    assert seen.quantile_s < 1.2


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.05, 0.3]))
def test_second_calls_stay_within_their_budget(asks: list[bool], budget: float) -> None:
    book, first, second = HedgeBook(Hedge(budget=budget)), 0, 0
    for ask in asks:
        book, first = book.started(), first + 1
        if ask:
            book, paid = book.spend()
            second += paid
        assert second <= budget * first + 1e-6


def test_a_full_endpoint_takes_no_second_calls() -> None:
    assert [is_spare(n, 10) for n in (0, 7, 8, 10)] == [True, True, False, False]
    assert is_spare(0, 1)
