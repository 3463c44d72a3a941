"""What is learnt of a model's rates, value by value."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.model import Cost, Limits, Quota, Usage
from headrace.policies.lesson import Lesson, Setting
from headrace.policies.rate import build_rate
from headrace.policies.ratebook import (
    MOST_BLOCK_S,
    ModelRates,
    Refusal,
    Sent,
    gives_nothing_back,
    start_of,
)
from headrace.policies.ratenotes import Note, noted, recalled

NOW = 1_000.0
SETTING = Setting()
NOTHING = Sent()
DIMENSIONS = ("calls", "tokens", "input_tokens", "output_tokens")


def heard(*quotas: Quota, rates: ModelRates = ModelRates(), now: float = NOW):
    return rates.observe(now, quotas, NOTHING, SETTING)


def limits_of(rates: ModelRates) -> dict[str, float]:
    return {dim.name: dim.limit for dim in rates.rate.dims}


def earliest(rates: ModelRates, now: float = NOW, cost: Cost = Cost(10, 10)) -> float:
    return rates.rate.earliest(now, rates.costs(cost))


def refused(rates: ModelRates, now: float = NOW, sent: Sent = NOTHING, **said: object):
    return rates.refused(now, Refusal(now - 0.1, **said), 0.0, sent, SETTING)


def test_each_limit_that_a_header_tells_is_learnt():
    rates = heard(Quota("calls", 600, 599), Quota("output_tokens", 8_000, 8_000))
    assert limits_of(rates) == {"calls": 600, "output_tokens": 8_000}


def test_what_others_took_is_counted_as_taken():
    rates = heard(Quota("calls", 60, 60))
    rates = heard(Quota("calls", 60, 0), rates=rates)
    assert NOW + 60 < earliest(rates) < NOW + 61


def test_what_we_sent_before_the_limit_was_known_is_counted():
    rates = ModelRates().observe(NOW, [Quota("calls", 60, 59)], Sent(60.0), SETTING)
    assert earliest(rates) > NOW + 60


def test_a_lower_limit_holds_at_once():
    rates = heard(Quota("calls", 600, 600))
    assert limits_of(heard(Quota("calls", 60, 60), rates=rates)) == {"calls": 60}


def test_a_higher_limit_is_believed_when_three_replies_say_it():
    rates = heard(Quota("calls", 60, 60))
    for _ in range(2):
        rates = heard(Quota("calls", 600, 600), rates=rates)
    assert limits_of(rates) == {"calls": 60}
    assert limits_of(heard(Quota("calls", 600, 600), rates=rates)) == {"calls": 600}


@pytest.mark.parametrize("limit", [None, 0.0, -5.0, math.nan, math.inf, 1e300])
def test_a_limit_that_can_be_none_is_not_learnt(limit):
    rates = heard(Quota("calls", limit, 3))
    assert rates.lessons == ()
    assert earliest(rates) == NOW


@pytest.mark.parametrize("remaining", [math.nan, -1.0, 61.0, math.inf])
def test_a_remainder_that_can_be_none_is_not_counted(remaining):
    assert earliest(heard(Quota("calls", 60, remaining))) == NOW


def test_a_limit_that_takes_longer_than_a_minute_to_reset_is_no_minutes_limit():
    rates = heard(Quota("calls", 14_400, 14_370, 179.56))
    assert rates.lessons == ()
    rates = heard(Quota("calls", 14_400, 9, 5.0))
    rates = heard(Quota("calls", 14_400, 9, 86_000.0), rates=rates)
    assert earliest(rates) == NOW
    assert rates.rate.used(NOW)[0] < 1e-3


def test_a_days_limit_that_is_spent_holds_for_a_minute_unless_a_refusal_says_more():
    rates = heard(Quota("calls", 500, 0, 40_000.0, 86_400.0))
    assert earliest(rates) == NOW + 60.0
    rates = refused(rates, dimension="calls", wait_s=2_000.0)
    assert earliest(rates) == NOW + 2_000.0


def test_no_refusal_holds_longer_than_an_hour():
    rates = refused(ModelRates(), dimension="tokens", wait_s=1e9)
    assert earliest(rates) == NOW + MOST_BLOCK_S


def test_a_refusal_for_a_day_says_nothing_of_the_pace():
    rates = heard(Quota("calls", 600, 600))
    assert limits_of(refused(rates, dimension="calls", wait_s=900.0))["calls"] == 600


def test_headers_that_lie_are_not_believed_after_three_windows():
    rates, now = heard(Quota("calls", 60, 60)), NOW
    starts = 0
    for _ in range(2_000):
        at = earliest(rates, now)
        rate, now = rates.rate.reserve(now, rates.costs(Cost()))
        assert at <= now + 1e-6
        rates = heard(Quota("calls", 60, 0), rates=rates.with_rate(rate), now=now)
        starts += 1
    assert starts / (now - NOW - 3 * 60) > 0.9 * 60 / 62


def test_a_call_larger_than_a_learnt_limit_takes_all_of_it():
    rates = heard(Quota("tokens", 100, 100))
    costs = rates.costs(Cost(5_000))
    rate, at = rates.rate.reserve(NOW, costs)
    assert at == NOW
    assert NOW + 60 < rate.earliest(NOW, costs) < NOW + 62


def test_a_refusal_lowers_a_limit_once_for_all_calls_of_before():
    rates = heard(Quota("calls", 600, 600))
    once = refused(rates, dimension="calls", wait_s=1.0, sent=Sent(600.0))
    assert limits_of(once)["calls"] == pytest.approx(0.85 * 600)
    again = once.refused(
        NOW, Refusal(NOW - 1.0, dimension="calls"), 0.0, Sent(600.0), SETTING
    )
    assert limits_of(again) == limits_of(once)


def test_a_lowered_limit_grows_back_and_no_higher_than_told():
    rates = heard(Quota("calls", 60, 60))
    rates, now = refused(rates, dimension="calls", wait_s=0.0, sent=Sent(60.0)), NOW
    for _ in range(2_000):
        rate, now = rates.rate.reserve(now, rates.costs(Cost()))
        rates = heard(rates=rates.with_rate(rate), now=now)
    assert limits_of(rates) == {"calls": 60}


def test_a_limit_that_nobody_uses_does_not_grow():
    rates = refused(ModelRates(), dimension="calls", wait_s=0.0, sent=Sent(600.0))
    for minute in range(1, 20):
        rates = heard(rates=rates, now=NOW + 60.0 * minute)
    assert limits_of(rates) == {"calls": 600}


def test_without_any_word_the_first_guess_is_what_was_accepted():
    rates = refused(ModelRates(), sent=Sent(calls=240.0))
    assert (limits_of(rates), rates.lessons[0].source) == ({"calls": 240}, "refusals")


def test_refusals_that_do_not_say_how_long_hold_twice_as_long_each_time():
    rates, now, waits = ModelRates(), NOW, []
    for _ in range(4):
        rates = refused(rates, now, dimension="calls")
        waits.append(rates.rate.dims[0].blocked_until - now)
        now = rates.rate.dims[0].blocked_until
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0])


def test_what_was_reserved_before_a_limit_was_learnt_can_be_given_back():
    rates = heard(Quota("calls", 60, 60))
    costs = rates.costs(Cost(10))
    rate, at = rates.rate.reserve(NOW, costs)
    rates = heard(Quota("tokens", 1_000, 1_000), rates=rates.with_rate(rate))
    assert rates.give_back(costs, at).rate.used(NOW) == (0.0, 0.0)


def test_tokens_are_settled_as_the_dialect_says():
    setting = Setting(accounting="actual")
    rates = ModelRates().observe(
        NOW, [Quota("output_tokens", 1_000, 1_000)], NOTHING, setting
    )
    costs = rates.costs(Cost(5, 400))
    rate, at = rates.rate.reserve(NOW, costs)
    rates = rates.with_rate(rate).settle(NOW + 1, costs, Usage(5, 100), at)
    assert rates.rate.used(NOW + 1) == (0.1,)


def test_a_refusal_for_tokens_below_our_own_count_shows_that_nothing_is_refunded():
    rate = build_rate(Limits(tokens_per_minute=100, token_accounting="actual"))
    assert gives_nothing_back(rate, NOW, "tokens")
    assert not gives_nothing_back(rate, NOW, "calls")
    assert not gives_nothing_back(rate.reserve(NOW, (95.0,))[0], NOW, "tokens")
    assert not gives_nothing_back(rate.without_refunds(NOW), NOW, "tokens")


def test_what_was_learnt_is_kept_without_its_blocks():
    rates = heard(Quota("calls", 60, 30))
    rates = rates.with_rate(rates.rate.block(NOW + 500.0, "calls"))
    kept = msgspec.json.decode(
        msgspec.json.encode(noted("m", rates, NOW)), type=list[Note]
    )
    soon = recalled(kept, 5.0, 10.0, SETTING)["m"]
    assert (limits_of(soon), soon.rate.used(5.0)) == ({"calls": 60}, (0.5,))
    late = recalled(kept, 5.0, 100.0, SETTING)["m"]
    assert (earliest(late, 5.0), late.rate.used(5.0)) == (5.0, (0.0,))


def test_notes_that_make_no_sense_are_left_out():
    notes = [
        Note("m", "calls", 60.0, math.nan, "headers"),
        Note("m", "calls", 1e-9, 5.0, "headers"),
        Note("m", "calls", math.nan, 5.0, "refusals"),
    ]
    assert recalled(notes, NOW, 0.0, SETTING) == {}


WILD = st.one_of(
    st.none(),
    st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e308, 1e-308, 1.0, 60.0]),
    st.floats(0, 2_000),
)
QUOTAS = st.builds(
    Quota,
    st.sampled_from(DIMENSIONS),
    WILD,
    WILD,
    WILD,
    st.sampled_from([60.0, 60.0, 1.0, 86_400.0, 0.0, math.nan, 1e-300, 1e300]),
)
REFUSALS = st.tuples(st.sampled_from([None, *DIMENSIONS, "else"]), WILD, WILD)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 5.0, 70.0]),
        st.integers(0, 5_000),
        st.one_of(REFUSALS, st.lists(QUOTAS, max_size=3)),
    ),
    max_size=30,
)


@pytest.mark.slow
@given(STEPS, st.sampled_from(["reserved", "actual"]))
def test_whatever_headers_and_refusals_say_calls_go_on(steps, accounting):
    """A learnt start is never further away than an hour's block and a window or two."""
    setting, rates, now = Setting(0.2, accounting), ModelRates(), NOW
    for gap_s, tokens, said in steps:
        now += gap_s
        cost = Cost(tokens, tokens // 2)
        at = earliest(rates, now, cost)
        assert now <= at <= now + 1.1 * MOST_BLOCK_S + 200.0
        if at == now:
            costs = rates.costs(cost)
            rate, at = rates.rate.reserve(now, costs)
            rates = rates.with_rate(rate).settle(now, costs, Usage(1, tokens), at)
        sent = Sent(3.0, 3.0 * tokens)
        if isinstance(said, tuple):
            dimension, wait_s, limit = said
            refusal = Refusal(now, cost, dimension, wait_s, limit)
            rates = rates.refused(now, refusal, 0.5, sent, setting)
        else:
            rates = rates.observe(now, said, sent, setting)
        assert all(math.isfinite(n) and n >= 1 for n in limits_of(rates).values())


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 90)), max_size=40),
    st.floats(2, 60),
)
def test_a_start_that_both_allow_is_reserved_in_both(calls, per_minute):
    stated = build_rate(Limits(calls_per_minute=30, tokens_per_minute=600))
    learnt, now = heard(Quota("calls", per_minute), Quota("tokens", 900)), NOW
    for gap_s, tokens in calls:
        now += gap_s
        costs, own = stated.costs(tokens), learnt.costs(Cost(tokens))
        at = start_of(stated, costs, learnt, own, now)
        stated, first = stated.reserve(at, costs)
        rate, second = learnt.rate.reserve(at, own)
        learnt = learnt.with_rate(rate)
        assert first == second == at >= now


def test_a_lesson_is_the_same_until_something_is_learnt():
    lesson = Lesson("calls", 60.0, "headers", 60.0, 60.0, seen_at=NOW)
    assert lesson.told_limit(60.0) is lesson
    assert lesson.used(NOW + 0.5, 1.0) is lesson
    assert lesson.told_used(NOW, 0.5, 0.5) is lesson
