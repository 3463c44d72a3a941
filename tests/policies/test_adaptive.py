"""`auto` alone: what each sample does to it, in a world without an event loop."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.adaptive import RULES, START, Adaptive, adaptive
from headrace.policies.concurrency import Sample, Verdict
from limit_world import MEAN_S, World, lognormal


def ended(limit: Adaptive, verdict: Verdict, at: float, in_flight: int | None = None):
    """Let a call end at `at` that started a second before."""
    flying = limit.value if in_flight is None else in_flight
    return limit.observe(Sample(at - 1.0, 1.0, flying, verdict))


def grown(value: int) -> Adaptive:
    limit = adaptive(512)
    while limit.value < value:
        limit = ended(limit, Verdict.OK, 1.0)
    return limit


def test_each_answer_at_full_use_lets_more_in():
    limit = adaptive(512)
    assert ended(limit, Verdict.OK, 1.0).value > limit.value == START
    assert grown(100).reason == "all slots were used"


def test_nothing_grows_while_slots_are_free():
    limit = grown(40)
    assert ended(limit, Verdict.OK, 2.0, in_flight=39).value == limit.value


def test_a_refusal_takes_one_slot_and_says_so():
    limit = grown(65)
    after = ended(limit, Verdict.REFUSED, 2.0)
    assert after.value == limit.value - 1
    assert after.reason == f"refused at {limit.value}"


def test_what_says_nothing_changes_nothing():
    limit = grown(65)
    assert ended(limit, Verdict.IGNORED, 2.0) is limit


def test_an_epoch_of_overload_is_answered_by_one_cut():
    limit = before = grown(40)
    for _ in range(40):
        limit = ended(limit, Verdict.OVERLOADED, 2.0)
    assert limit.value == int(RULES.cut * before.value)


def test_an_overload_that_goes_on_leaves_no_trace_but_care():
    limit, now = grown(100), 2.0
    for _ in range(12):  # everything fails for a while
        for _ in range(50):
            limit = ended(limit, Verdict.OVERLOADED, now)
        now += 1.5
    assert limit.value <= 3
    ends = 0
    while limit.value < int(RULES.cut * 100):
        limit, ends = ended(limit, Verdict.OK, now), ends + 1
    assert ends <= 100  # by an answer each up to there
    for _ in range(4 * 75):
        limit = ended(limit, Verdict.OK, now)
    assert 73 <= limit.value <= 75  # by a round each beyond


def test_where_the_overload_is_over_it_grows_as_ever():
    limit = grown(50)
    for _ in range(5):
        limit = ended(limit, Verdict.OVERLOADED, 2.0)
    for _ in range(40 * 60):
        limit = ended(limit, Verdict.OK, 3.0)
    assert limit.value == 512


def overloaded(limit: Adaptive, now: float) -> Adaptive:
    """Let calls be lost until it is cut."""
    before = limit.value
    while limit.value == before:
        limit = ended(limit, Verdict.OVERLOADED, now)
    return limit


def answered(limit: Adaptive, calls: int, now: float) -> Adaptive:
    for _ in range(calls):
        limit = ended(limit, Verdict.OK, now)
    return limit


def test_an_overload_at_the_end_of_the_quick_way_back_makes_that_way_shorter():
    limit = overloaded(grown(190), 2.0)
    cut, crest = limit.value, limit.course.crest
    limit = overloaded(answered(limit, cut + 1, 4.0), 4.0)
    assert limit.course.crest < crest
    assert limit.value == limit.course.ramp == int(RULES.cut * (cut + 1))


def test_a_server_that_refuses_and_fails_once_is_soon_used_as_before():
    limit = ended(grown(65), Verdict.REFUSED, 2.0)
    limit = answered(limit, RULES.calm_rounds * 65, 3.0)
    for now in (4.0, 6.0, 8.0, 10.0):  # everything fails for a while
        limit = overloaded(limit, now)
    assert limit.value <= 20
    assert answered(limit, 64, 12.0).value >= 64


def test_a_server_that_refuses_and_fails_again_soon_is_used_with_care():
    limit = ended(grown(65), Verdict.REFUSED, 2.0)
    limit = overloaded(answered(limit, RULES.calm_rounds * 65, 3.0), 4.0)
    limit = answered(limit, 100, 6.0)
    before = limit.value
    limit = answered(overloaded(limit, 8.0), 40, 10.0)
    assert limit.value <= RULES.cut * before + 1


def test_one_loss_among_many_answers_is_chance():
    limit = grown(200)
    assert ended(limit, Verdict.OVERLOADED, 2.0).value == limit.value


def test_a_lower_ceiling_holds_at_once_and_keeps_what_was_learnt():
    moved = grown(100).moved(50)
    assert moved.value == 50
    assert moved.reason
    with pytest.raises(ValueError, match="less than 1"):
        moved.moved(0)


@given(
    st.lists(
        st.tuples(st.sampled_from(Verdict), st.integers(1, 40), st.floats(0, 30)),
        max_size=300,
    ),
    st.integers(1, 30),
)
def test_it_stays_between_one_and_its_ceiling_and_grows_at_full_use_only(ends, most):
    limit, now = adaptive(most), 0.0
    for number, (verdict, in_flight, duration_s) in enumerate(ends, 1):
        now += 0.1
        flying = min(in_flight, limit.value)
        sample = Sample(
            now - duration_s, duration_s, flying, verdict, number, number + flying
        )
        after = limit.observe(sample)
        assert 1 <= after.value <= most
        if verdict is Verdict.REFUSED:
            assert after.value >= limit.value - 1
        if verdict is Verdict.IGNORED:
            assert after is limit
        limit = after


@pytest.mark.parametrize("cv", [0.5, 1.0])
def test_a_cap_is_found_fast_and_hardly_ever_refuses(cv):
    world = World(adaptive(512), lognormal(cv), 64, seed=1).run(200 * MEAN_S)
    assert world.t95(64 / MEAN_S) <= 12
    assert world.use(64 / MEAN_S, 100 * MEAN_S, 200 * MEAN_S) >= 0.98
    assert len(world.refused) <= 0.003 * len(world.answered)


def test_a_server_that_queues_is_used_and_calls_hardly_wait_in_it():
    draw = lognormal(0.5)
    world = World(adaptive(512), draw, 64, queues=True, seed=1).run(100 * MEAN_S)
    later_s = 50 * MEAN_S
    took = sorted(took_s for at, took_s in world.answered if at > later_s)
    chance = random.Random(1)
    alone = sorted(draw(chance) for _ in range(20_000))
    assert world.use(64 / MEAN_S, later_s, 2 * later_s) >= 0.98
    assert took[len(took) * 99 // 100] <= 1.5 * alone[len(alone) * 99 // 100]
    assert world.limit.reason == "more calls only take longer"
