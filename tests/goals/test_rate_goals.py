"""Goal 6: a stated rate is used and never refused, through the real gate.

Goal 7, a quota shared by clients that do not know each other, is held in
tests/policies/test_shared_quota.py; limits that are learnt in
tests/engine/test_rates_learnt.py.
"""

from __future__ import annotations

import msgspec
import pytest

from goal_building import latency, run
from headrace.providers.dialects.openai import OPENAI
from headrace.wire import HttpRequest

pytestmark = pytest.mark.slow

PER_MINUTE = 120
HALF_AN_HOUR_S = 1_800


def stated(model: str, *, jitter_s: float = 0.2, of: float = 1.0):
    """Saturate a server for half an hour; return the measures.

    Args:
        model: how the server counts.
        jitter_s: a call arrives up to so much later than it started.
        of: what we are told, as a share of what the server allows.
    """
    return run(
        {"latency": latency(0.5), "rpm": PER_MINUTE, "rate_model": model},
        1,
        limits={"in_flight": 32, "rpm": PER_MINUTE * of, "jitter_s": jitter_s},
        jitter_s=jitter_s,
        duration_s=HALF_AN_HOUR_S,
    ).measures


def reserved_by_a_call(max_tokens: int) -> int:
    """Return the tokens that a call of a scenario takes."""
    body = {"model": "sim", "prompt": "How far?", "max_tokens": max_tokens}
    request = HttpRequest("/v1/completions", msgspec.json.encode(body))
    return OPENAI.describe(request)[1].tokens


@pytest.mark.parametrize("model", ["sliding_log", "token_bucket", "fixed_minute"])
def test_goal_6_a_stated_rate_is_used_and_never_refused(model):
    found = stated(model)
    assert found["refused"] == 0
    assert found["rate_used"] >= 0.98


def test_goal_6_calls_that_arrive_up_to_two_seconds_late_cost_little():
    found = stated("sliding_log", jitter_s=2.0)
    assert found["refused"] == 0
    assert found["rate_used"] >= 0.95


def test_goal_6_three_quarters_of_a_rate_held_by_the_ten_seconds_are_never_refused():
    found = stated("slices_10s", of=0.75)
    assert found["refused"] == 0
    assert found["rate_used"] >= 0.74


def test_goal_6_reserved_tokens_are_used_and_never_refused():
    found = run(
        {"latency": latency(0.5), "tpm": 12_000, "rate_model": "sliding_log"},
        1,
        limits={"in_flight": 32, "tpm": 12_000},
        workload={"max_tokens": 100},
        jitter_s=0.2,
        duration_s=HALF_AN_HOUR_S,
    )
    sent_a_minute = found.record.moments[-1].sent / (HALF_AN_HOUR_S / 60)
    assert found.measures["refused"] == 0
    assert sent_a_minute * reserved_by_a_call(100) >= 0.98 * 12_000
