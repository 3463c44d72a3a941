from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.pace import Pace

NOW = 1_000.0


def pace_of(per_s: float, seconds: float) -> Pace:
    """Return the pace after calls that ended evenly until NOW."""
    pace, count = Pace(), int(per_s * seconds)
    for i in range(count + 1):
        pace = pace.ended(NOW - seconds + i / per_s)
    return pace


@given(st.floats(0.5, 50.0), st.floats(10.0, 120.0), st.integers(0, 10_000))
def test_the_wait_is_who_waits_by_how_many_leave_a_second(
    per_s: float, seconds: float, waiting: int
) -> None:
    wait_s = pace_of(per_s, seconds).wait_s(waiting, NOW)
    assert wait_s == pytest.approx((waiting + 1) / per_s, rel=0.3)


def test_while_nothing_has_ended_a_second_is_told() -> None:
    assert Pace().wait_s(500, NOW) == 1.0
    assert Pace().ended(NOW).wait_s(500, NOW) == 1.0


def test_the_wait_grows_while_nobody_leaves() -> None:
    pace = pace_of(10.0, 60.0)
    assert pace.wait_s(9, NOW + 30.0) > 2.0 * pace.wait_s(9, NOW)
