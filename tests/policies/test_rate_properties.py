"""What holds of rate limits whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.model import Limits
from headrace.policies.rate import build_rate
from rate_building import moved

LIMITS = st.builds(
    Limits,
    calls_per_minute=st.one_of(st.none(), st.floats(0.3, 2000)),
    tokens_per_minute=st.one_of(st.none(), st.floats(5000, 100_000)),
    jitter_s=st.sampled_from([0.0, 0.2, 3.0]),
    token_accounting=st.sampled_from(["reserved", "actual"]),
)
CALLS = st.lists(
    st.tuples(st.floats(0, 40), st.integers(0, 5000), st.floats(0, 1)),
    min_size=1,
    max_size=60,
)


def heaviest_window(taken: list[tuple[float, float]], width_s: float) -> float:
    """Return the most units in any closed window; `taken` is in order of time."""
    most = total = 0.0
    first = 0
    for at, units in taken:
        total += units
        while taken[first][0] < at - width_s:
            total -= taken[first][1]
            first += 1
        most = max(most, total)
    return most


@pytest.mark.slow
@given(LIMITS, CALLS, st.randoms(use_true_random=False))
def test_no_window_ever_sees_more_than_the_limit(limits, calls, random):
    rate = build_rate(limits)
    arrivals: list[list[tuple[float, float]]] = [[] for _ in rate.dims]
    now = 1000.0
    for pause_s, tokens, _ in calls:
        now += pause_s * random.choice([0, 0, 0.1, 1])
        costs = rate.costs(tokens)
        if rate.fits(costs):
            continue
        rate, at = rate.reserve(now, costs)
        if random.random() < 0.2:
            rate = rate.give_back(costs)
            continue
        for i, cost in enumerate(costs):
            arrivals[i].append((at + random.choice([0, 1]) * limits.jitter_s, cost))
    for dim, taken in zip(rate.dims, arrivals, strict=True):
        assert heaviest_window(sorted(taken), dim.window_s) <= dim.limit + 1e-6


@pytest.mark.slow
@given(CALLS, st.randoms(use_true_random=False))
def test_no_window_ever_sees_more_actual_tokens_than_the_limit(calls, random):
    rate = build_rate(Limits(tokens_per_minute=8000, token_accounting="actual"))
    in_flight, arrivals, now = [], [], 1000.0
    for pause_s, tokens, ratio in calls:
        now += pause_s * random.choice([0, 0.1, 1])
        costs = rate.costs(tokens)
        rate, at = rate.reserve(now, costs)
        used = tokens * ratio
        arrivals.append((at + random.random() * 0.2, used))
        in_flight.append((costs, (used,), at))
        while in_flight and random.random() < 0.6:
            reserved, used_costs, start_at = in_flight.pop(
                random.randrange(len(in_flight))
            )
            known = random.choice([start_at, start_at, None])
            rate = rate.settle(max(now, start_at), reserved, used_costs, known)
    assert heaviest_window(sorted(arrivals), 60.0) <= 8000 + 1e-6


@pytest.mark.slow
@given(LIMITS, CALLS)
def test_starts_never_go_back_in_time_and_never_before_now(limits, calls):
    rate, now, last = build_rate(limits), 1000.0, 0.0
    for pause_s, tokens, _ in calls:
        now += pause_s
        costs = rate.costs(tokens)
        if rate.fits(costs):
            continue
        rate, at = rate.reserve(now, costs)
        assert at >= now
        assert at >= last
        last = at


@pytest.mark.slow
@given(CALLS)
def test_pace_never_exceeds_burst_and_rate_in_any_window(calls):
    rate = build_rate(Limits(tokens_per_minute=50_000))
    starts, now = [], 1000.0
    for pause_s, tokens, _ in calls:
        now += pause_s * 0.01
        costs = rate.costs(tokens)
        rate, at = rate.reserve(now, costs)
        starts.append((at, costs[0]))
    dim = rate.dims[0]
    for width_s in (0.0, 0.5, 3.0, 20.0):
        allowed = dim.burst + dim.rate * (width_s + 0.1)
        assert heaviest_window(starts, width_s) <= allowed + 1e-6


@pytest.mark.slow
@given(LIMITS, CALLS)
def test_an_idle_limit_never_makes_a_call_wait(limits, calls):
    rate, now = build_rate(limits), 1000.0
    for _, tokens, _ in calls:
        now += (
            250.0 if limits.calls_per_minute and limits.calls_per_minute < 1 else 64.0
        )
        costs = rate.costs(tokens)
        if rate.fits(costs):
            continue
        rate, at = rate.reserve(now, costs)
        assert at == now


@pytest.mark.slow
@given(st.lists(st.floats(2, 200), min_size=2, max_size=8), st.integers(1, 60))
def test_the_guarantee_holds_while_the_limit_moves(limits, per_step):
    first = Limits(calls_per_minute=limits[0], jitter_s=0.2)
    rate, now = build_rate(first), 1000.0
    starts: list[float] = []
    for limit in limits:
        rate = moved(rate, now, Limits(calls_per_minute=limit, jitter_s=0.2))
        for _ in range(per_step):
            at = rate.earliest(now, rate.costs(1))
            if at > now + 5:
                break
            rate, at = rate.reserve(now, rate.costs(1))
            within = sum(at - s <= 60.2 for s in starts)
            assert within + 1 <= limit
            starts.append(at)
            now = max(now, at)
