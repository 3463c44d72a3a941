"""Quantiles in little memory are right to one per cent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.insight.distribution import Distribution

NUMBERS = st.lists(st.floats(1e-5, 1e6), min_size=1, max_size=200)


def of(numbers):
    distribution = Distribution()
    for number in numbers:
        distribution.add(number)
    return distribution


@given(NUMBERS, st.floats(0, 1))
def test_a_quantile_is_right_to_one_per_cent(numbers, share):
    exact = sorted(numbers)[int(share * (len(numbers) - 1))]
    assert of(numbers).quantile(share) == pytest.approx(exact, rel=0.0101)


@given(NUMBERS)
def test_count_mean_and_largest_are_exact(numbers):
    found = of(numbers)
    assert found.count == len(numbers)
    assert found.largest == max(numbers)
    assert found.mean == pytest.approx(sum(numbers) / len(numbers))


def test_an_empty_distribution_is_zero():
    empty = Distribution()
    assert (empty.quantile(0.5), empty.mean) == (0.0, 0.0)


def test_zero_and_negative_numbers_do_no_harm():
    assert of([0.0, -1.0, 0.0]).quantile(0.9) == 0.0


def test_memory_does_not_grow_with_the_count():
    found = of(1 + i % 1000 for i in range(20_000))
    assert len(found._buckets) < 1_000
