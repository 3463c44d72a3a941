"""Which failures are tried again, when, and what they say of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ErrorCode,
    Interrupted,
    Overloaded,
    PermanentError,
    Throttled,
    TimedOut,
    TransientError,
    Unauthorised,
    Unreachable,
)
from headrace.model import Retry
from headrace.policies.breaker import Health
from headrace.policies.concurrency import Verdict
from headrace.policies.retry import (
    GiveUp,
    RetryAfter,
    RetryBudget,
    decide,
    may_go_elsewhere,
    verdict_of,
)

UNIT = st.floats(0, 1, exclude_max=True)
ERRORS = st.builds(
    lambda kind, code, wait_s, word: kind(
        "x", code=code, retry_after_s=wait_s, should_retry=word
    ),
    st.sampled_from([TransientError, PermanentError]),
    st.sampled_from(list(ErrorCode)),
    st.one_of(st.none(), st.floats(0, 100)),
    st.sampled_from([None, True, False]),
)


def first(error: CallError, u: float = 0.5, *, repeatable: bool = True):
    return decide(error, Retry(), 1, u, None, repeatable, 1)


def wait_of(error: CallError, u: float, streak: int = 1) -> float:
    decision = decide(error, Retry(), 1, u, None, True, streak)
    assert isinstance(decision, RetryAfter)
    return decision.wait_s


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_has_a_rule(code):
    assert verdict_of(CallError("x", code=code)).base_s >= 0


def test_a_refused_call_is_not_tried_again():
    assert isinstance(first(BadCall("bad")), GiveUp)


def test_the_last_attempt_is_the_last():
    error = Overloaded("busy")
    assert isinstance(
        decide(error, Retry(max_attempts=3), 2, 0.5, None, True), RetryAfter
    )
    assert isinstance(decide(error, Retry(max_attempts=3), 3, 0.5, None, True), GiveUp)


@pytest.mark.parametrize(
    "error",
    [
        Throttled("429"),
        Throttled("429", retry_after_s=3.0),
        Throttled("429", code=ErrorCode.TOO_MANY_CONCURRENT),
        Overloaded("503", retry_after_s=3.0),
    ],
)
def test_being_told_to_wait_spends_no_attempt(error):
    decision = decide(error, Retry(max_attempts=1), 99, 0.5, None, True, 1)
    assert isinstance(decision, RetryAfter)
    assert not decision.spends_attempt


def test_a_plain_503_spends_an_attempt():
    decision = first(Overloaded("503"))
    assert isinstance(decision, RetryAfter)
    assert decision.spends_attempt


def test_the_providers_retry_after_is_a_lower_bound():
    assert wait_of(Throttled("429", retry_after_s=7.0), 0.0) == 7.0
    assert wait_of(Throttled("429", retry_after_s=7.0), 1.0) == pytest.approx(7.7)


def test_a_long_retry_after_is_kept_though_above_the_cap():
    assert wait_of(Throttled("429", retry_after_s=3600.0), 0.0) == 3600.0


def test_a_retry_after_of_nothing_is_no_hint():
    assert wait_of(Throttled("429", retry_after_s=0.0), 0.0) == 0.5


def test_a_throttled_call_waits_at_least_half_of_its_back_off():
    assert (wait_of(Throttled("429"), 0.0), wait_of(Throttled("429"), 1.0)) == (
        0.5,
        1.0,
    )


def test_back_off_grows_with_failures_that_spend_no_attempt():
    waits = [wait_of(Throttled("429"), 1.0, streak) for streak in (1, 2, 3, 9, 5000)]
    assert waits == [1.0, 2.0, 4.0, 30.0, 30.0]


def test_other_failures_draw_from_nothing_to_the_whole_back_off():
    error = TransientError("500")
    assert (wait_of(error, 0.0), wait_of(error, 1.0, streak=3)) == (0.0, 2.0)


def test_a_wait_past_the_deadline_gives_up_and_says_how_long():
    decision = decide(Throttled("429", retry_after_s=60.0), Retry(), 1, 0.0, 10.0, True)
    assert decision == GiveUp(
        "a wait of 60.0 s ends after the deadline, 10.0 s from now"
    )


@pytest.mark.parametrize(
    "error",
    [
        TimedOut("slow"),
        Interrupted("reset"),
        TransientError("502", status=502),
        TransientError("504", status=504),
        TransientError("died", code=ErrorCode.WORKER_DIED),
    ],
)
def test_what_may_have_been_carried_out_is_repeated_only_if_repeatable(error):
    assert isinstance(first(error, repeatable=True), RetryAfter)
    assert isinstance(first(error, repeatable=False), GiveUp)


@pytest.mark.parametrize(
    "error", [Unreachable("refused"), Overloaded("503"), Throttled("429")]
)
def test_what_was_never_carried_out_is_always_safe_to_repeat(error):
    assert isinstance(first(error, repeatable=False), RetryAfter)


def test_the_providers_word_wins():
    conflict = TransientError("409", code=ErrorCode.CONFLICT)
    told = TransientError("409", code=ErrorCode.CONFLICT, should_retry=True)
    assert isinstance(first(conflict), GiveUp)
    assert isinstance(first(told, repeatable=False), RetryAfter)
    assert isinstance(first(Overloaded("503", should_retry=False)), GiveUp)


@pytest.mark.parametrize(
    ("error", "breaker", "limiter"),
    [
        (Throttled("429"), Health.NEUTRAL, Verdict.IGNORED),
        (
            Throttled("429", code=ErrorCode.TOO_MANY_CONCURRENT),
            Health.NEUTRAL,
            Verdict.REFUSED,
        ),
        (Overloaded("503"), Health.FAIL, Verdict.OVERLOADED),
        (BadCall("400"), Health.NEUTRAL, Verdict.IGNORED),
        (
            Unauthorised("402", code=ErrorCode.QUOTA_SPENT),
            Health.EJECT,
            Verdict.IGNORED,
        ),
    ],
)
def test_failures_tell_the_breaker_and_the_limiter_what_they_mean(
    error, breaker, limiter
):
    rule = verdict_of(error)
    assert (rule.breaker, rule.limiter) == (breaker, limiter)


def test_waiting_as_asked_costs_no_budget():
    assert verdict_of(Throttled("429", retry_after_s=1.0)).budget_cost == 0.0
    assert verdict_of(Throttled("429")).budget_cost > 0.0


@pytest.mark.slow
@given(ERRORS, st.integers(1, 20), UNIT, st.integers(1, 10**6))
def test_a_permanent_error_is_never_retried(error, attempt, u, streak):
    decision = decide(error, Retry(), attempt, u, None, True, streak)
    assert isinstance(decision, GiveUp) or not isinstance(error, PermanentError)


@pytest.mark.slow
@given(ERRORS, UNIT, st.floats(0, 200), st.integers(1, 10**6))
def test_no_wait_ends_past_the_deadline(error, u, left_s, streak):
    decision = decide(error, Retry(), 1, u, left_s, True, streak)
    assert isinstance(decision, GiveUp) or decision.wait_s < left_s


@pytest.mark.slow
@given(ERRORS, UNIT, st.floats(0.1, 60), st.integers(1, 10**6))
def test_no_wait_of_our_own_is_longer_than_the_cap(error, u, cap_s, streak):
    decision = decide(error, Retry(cap_s=cap_s), 1, u, None, True, streak)
    if isinstance(decision, RetryAfter):
        assert 0 <= decision.wait_s <= max(cap_s, (error.retry_after_s or 0) * 1.1)


def test_a_full_budget_makes_nobody_wait():
    budget, wait_s = RetryBudget().withdraw(1000.0, 1.0)
    assert (budget.tokens, wait_s) == (99.0, 0.0)


def test_what_costs_nothing_changes_nothing():
    budget = RetryBudget()
    assert budget.withdraw(1000.0, 0.0) == (budget, 0.0)
    assert budget.deposit() is budget


def test_successes_fill_the_budget_up_to_its_cap():
    budget = RetryBudget(tokens=99.85)
    for _ in range(5):
        budget = budget.deposit()
    assert budget.tokens == 100.0


def test_an_empty_budget_spaces_retries_a_second_apart():
    budget = RetryBudget(tokens=0.0, refilled_at=1000.0)
    waits = []
    for _ in range(3):
        budget, wait_s = budget.withdraw(1000.0, 1.0)
        waits.append(wait_s)
    assert waits == [1.0, 2.0, 3.0]


def test_time_refills_ten_retries_and_no_more():
    budget = RetryBudget(tokens=0.0, refilled_at=1000.0)
    assert budget.withdraw(5000.0, 1.0)[0].tokens == 9.0


def test_no_retry_waits_for_the_budget_longer_than_half_a_minute():
    budget = RetryBudget(tokens=0.0, refilled_at=1000.0)
    for _ in range(500):
        budget, wait_s = budget.withdraw(1000.0, 1.0)
    assert wait_s == 30.0


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
def test_the_budget_stays_within_its_bounds(steps):
    budget, now = RetryBudget(), 1000.0
    for pause_s, succeeded in steps:
        now += pause_s
        if succeeded:
            budget = budget.deposit()
        else:
            budget, wait_s = budget.withdraw(now, 2.0)
            assert 0.0 <= wait_s <= 30.0
        assert -30.0 <= budget.tokens <= 100.0


def test_what_one_endpoint_refuses_for_good_another_may_answer() -> None:
    assert may_go_elsewhere(Unauthorised("no"), repeatable=False)
    assert may_go_elsewhere(BadReply("a web page"), repeatable=True)
    assert not may_go_elsewhere(BadReply("a web page"), repeatable=False)
    assert not may_go_elsewhere(BadCall("no such field"), repeatable=True)
