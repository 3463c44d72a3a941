"""What is written out for speed decides as the general form does."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headrace.model import Limits
from headrace.policies.breaker import Breaker
from headrace.policies.rate import RateLimit, build_rate

COSTS = st.integers(min_value=0, max_value=1_500)
GAPS_S = st.sampled_from([0.0, 1e-3, 0.05, 0.3, 7.0, 70.0])


def _charged_one_by_one(rate: RateLimit, now: float, tokens: int) -> object:
    costs = rate.costs(tokens)
    at = rate.earliest(now, costs)
    if at == math.inf:
        return rate.dims, at
    charged = [dim.charge(at, costs[i]) for i, dim in enumerate(rate.dims)]
    return tuple(charged), at


@given(calls=st.lists(st.tuples(GAPS_S, COSTS), max_size=40))
def test_a_reservation_at_once_is_the_same_as_one_dimension_after_the_other(calls):
    rate, now = build_rate(Limits(calls_per_minute=30, tokens_per_minute=1_400)), 1000.0
    for gap_s, tokens in calls:
        now += gap_s
        expected = _charged_one_by_one(rate, now, tokens)
        rate, at = rate.reserve(now, rate.costs(tokens))
        assert (rate.dims, at) == expected


def test_a_call_larger_than_the_token_limit_is_known_beforehand():
    assert build_rate(Limits(tokens_per_minute=100)).terms.most_tokens == 100
    assert build_rate(Limits(calls_per_minute=100)).terms.most_tokens == math.inf


@given(
    verdicts=st.lists(st.tuples(GAPS_S, st.sampled_from(["ok", "fail"])), max_size=60)
)
def test_an_answered_call_counts_as_an_observed_success(verdicts):
    short, full, now = Breaker(), Breaker(), 1000.0
    for gap_s, verdict in verdicts:
        now += gap_s
        if verdict == "ok" and short.state == "closed":
            short = short.answered(now, short.generation)
        else:
            short = short.observe(now, short.generation, verdict, 0.5)
        full = full.observe(now, full.generation, verdict, 0.5)
        assert short == full


def test_an_answer_of_an_older_generation_says_nothing():
    breaker = Breaker(generation=3)
    assert breaker.answered(1000.0, 2) is breaker
