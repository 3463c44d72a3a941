from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.simulation.meters import Charge, Meter, RateModel, meter

MODELS: tuple[RateModel, ...] = ("token_bucket", "sliding_log", "fixed_minute")

arrivals = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=200).map(lambda n: n / 8),
        st.integers(min_value=1, max_value=12),
    ),
    max_size=60,
)


def taken(
    subject: Meter, steps: list[tuple[float, int]]
) -> list[tuple[float, int, bool]]:
    """Offer each cost after its pause; return time, cost and whether it was taken."""
    now = 1000.0
    found = []
    for pause_s, cost in steps:
        now += pause_s
        fits = subject.wait_s(now, cost) == 0.0
        if fits:
            subject.charge(now, cost)
        found.append((now, cost, fits))
    return found


@given(arrivals)
def test_a_sliding_log_counts_exactly_the_last_minute(
    steps: list[tuple[float, int]],
) -> None:
    admitted: list[tuple[float, int]] = []
    for now, cost, fits in taken(meter("sliding_log", 20), steps):
        used = sum(c for at, c in admitted if at > now - 60)
        assert fits == (used + cost <= 20)
        if fits:
            admitted.append((now, cost))


@given(arrivals)
def test_a_fixed_minute_counts_since_the_last_full_minute(
    steps: list[tuple[float, int]],
) -> None:
    admitted: list[tuple[float, int]] = []
    for now, cost, fits in taken(meter("fixed_minute", 20), steps):
        used = sum(c for at, c in admitted if at // 60 == now // 60)
        assert fits == (used + cost <= 20)
        if fits:
            admitted.append((now, cost))


@given(arrivals)
def test_a_token_bucket_is_filled_eighth_by_eighth(
    steps: list[tuple[float, int]],
) -> None:
    eighths, at = 480 * 20, 1000.0  # the level in units of limit / 480 a step
    for now, cost, fits in taken(meter("token_bucket", 20), steps):
        eighths = min(480 * 20, eighths + round((now - at) * 8) * 20)
        at = now
        assert fits == (cost * 480 <= eighths)
        if fits:
            eighths -= cost * 480


@pytest.mark.parametrize("model", MODELS)
@given(steps=arrivals, cost=st.integers(min_value=1, max_value=20))
def test_the_wait_that_is_told_is_the_shortest_that_suffices(
    model: RateModel, steps: list[tuple[float, int]], cost: int
) -> None:
    subject = meter(model, 20)
    seen = taken(subject, steps)
    now = seen[-1][0] if seen else 1000.0
    wait_s = subject.wait_s(now, cost)
    if wait_s > 0:
        assert subject.wait_s(now + wait_s * 0.99, cost) > 0
    assert subject.wait_s(now + wait_s + 1e-6, cost) == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_a_cost_above_the_limit_never_fits(model: RateModel) -> None:
    assert meter(model, 20).wait_s(5.0, 21) == math.inf


@pytest.mark.parametrize("model", MODELS)
def test_a_charge_that_shrinks_makes_room(model: RateModel) -> None:
    subject = meter(model, 20)
    charge = subject.charge(1000.0, 20)
    assert subject.wait_s(1000.0, 12) > 0
    subject.adjust(1000.0, charge, 5)
    assert subject.wait_s(1000.0, 15) == 0.0
    assert subject.remaining(1000.0) == 15


@pytest.mark.parametrize("model", ["sliding_log", "fixed_minute"])
def test_a_charge_of_a_former_minute_gives_nothing_back(model: RateModel) -> None:
    subject = meter(model, 20)
    old: Charge = subject.charge(1000.0, 20)
    subject.charge(1070.0, 20)
    subject.adjust(1070.0, old, 0)
    assert subject.remaining(1070.0) == 0


@pytest.mark.parametrize("model", MODELS)
@given(steps=arrivals)
def test_after_the_reset_everything_is_free(
    model: RateModel, steps: list[tuple[float, int]]
) -> None:
    subject = meter(model, 20)
    seen = taken(subject, steps)
    now = seen[-1][0] if seen else 1000.0
    at = now + subject.reset_s(now) + 1e-6
    assert subject.remaining(at) == pytest.approx(20)
