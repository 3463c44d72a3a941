"""How many calls may be in flight."""

from __future__ import annotations

import pytest

from headrace.policies.concurrency import Fixed, Sample, Verdict


def test_a_stated_number_learns_nothing():
    limit = Fixed(7)
    assert limit.observe(Sample(1000.0, 1.0, 7, Verdict.OVERLOADED)) is limit
    assert limit.value == 7


def test_less_than_one_call_in_flight_is_refused():
    with pytest.raises(ValueError, match="less than 1"):
        Fixed(0)
