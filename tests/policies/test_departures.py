"""How long a queue takes to empty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.departures import Departures


def test_nobody_knows_the_wait_before_two_have_left() -> None:
    assert Departures().left(10.0, behind=3).expected_wait_s(4) is None


def test_time_in_which_nobody_waited_does_not_count() -> None:
    seen = Departures().left(0.0, behind=1).left(2.0, behind=0)
    quiet = seen.left(3_600.0, behind=0)
    assert quiet.expected_wait_s(3) == 6.0


@given(st.floats(0.001, 100.0), st.integers(2, 50), st.integers(0, 1_000))
def test_with_even_departures_the_wait_is_the_number_ahead_by_their_rate(
    gap_s: float, departures: int, ahead: int
) -> None:
    seen = Departures()
    for i in range(departures):
        seen = seen.left(i * gap_s, behind=1)
    wait_s = seen.expected_wait_s(ahead)
    assert wait_s is not None
    assert abs(wait_s - ahead * gap_s) <= 1e-6 * (1 + ahead * gap_s)
