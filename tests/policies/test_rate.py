"""Rate limits, value by value; the servers' side is in test_rate_servers.py."""

from __future__ import annotations

import itertools
import math

import pytest

from headrace.model import Limits
from headrace.policies.dimension import Dimension, stated
from headrace.policies.rate import RateLimit, build_rate
from rate_building import moved


def calls_only(per_minute: float, jitter_s: float = 0.0) -> RateLimit:
    return build_rate(Limits(calls_per_minute=per_minute, jitter_s=jitter_s))


def starts_of(rate: RateLimit, now: float, n: int, tokens: int = 1) -> list[float]:
    starts = []
    for _ in range(n):
        rate, at = rate.reserve(now, rate.costs(tokens))
        starts.append(at)
    return starts


def test_a_first_call_never_waits():
    assert calls_only(60).reserve(1000.0, (1.0,))[1] == 1000.0


def test_calls_are_spaced_evenly():
    starts = starts_of(calls_only(60), 1000.0, 4)
    gaps = [b - a for a, b in itertools.pairwise(starts[1:])]
    assert gaps == pytest.approx([1.0, 1.0])


def test_one_call_a_minute_means_one_in_any_minute():
    starts = starts_of(calls_only(1, jitter_s=0.2), 1000.0, 3)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert all(60.2 < gap < 60.8 for gap in gaps)


def test_half_a_call_a_minute_is_one_call_in_two():
    starts = starts_of(calls_only(0.5), 1000.0, 2)
    assert 120 < starts[1] - starts[0] < 122


def test_a_call_as_large_as_the_limit_goes_once_a_window():
    rate = build_rate(Limits(tokens_per_minute=4000))
    starts = starts_of(rate, 1000.0, 3, tokens=4000)
    assert all(60 < b - a < 61 for a, b in itertools.pairwise(starts))


def test_a_cost_above_the_limit_is_named_and_never_starts():
    rate = build_rate(Limits(calls_per_minute=10, tokens_per_minute=1000))
    costs = rate.costs(1001)
    assert rate.fits(costs) == "tokens"
    assert rate.earliest(5.0, costs) == math.inf
    assert rate.reserve(5.0, costs) == (rate, math.inf)


def test_what_fits_exactly_fits():
    rate = build_rate(Limits(tokens_per_minute=1000))
    assert rate.fits(rate.costs(1000)) is None


def test_without_limits_nothing_changes_and_nothing_waits():
    rate = build_rate(Limits())
    costs = rate.costs(10**9)
    assert rate.dims == ()
    assert rate.reserve(7.0, costs) == (rate, 7.0)
    assert rate.settle(8.0, costs, costs) is rate
    assert rate.give_back(costs) is rate
    assert (rate.headroom(7.0), rate.used(7.0), rate.binding(7.0, costs)) == (
        1.0,
        (),
        "",
    )


def test_a_call_without_tokens_is_not_held_by_the_token_limit():
    rate = build_rate(Limits(tokens_per_minute=100))
    rate, _ = rate.reserve(1000.0, rate.costs(100))
    assert rate.reserve(1000.0, rate.costs(0))[1] == 1000.0


def test_the_next_reservation_counts_from_the_scheduled_time():
    rate = calls_only(60)
    for _ in range(3):
        rate, scheduled = rate.reserve(1000.0, rate.costs(1))
    after = rate.reserve(scheduled + 0.05, rate.costs(1))[1]
    assert after == pytest.approx(scheduled + 1.0)


def test_earliest_says_when_without_reserving():
    rate = calls_only(60)
    rate, _ = rate.reserve(1000.0, rate.costs(1))
    at = rate.earliest(1000.0, rate.costs(1))
    assert rate.reserve(1000.0, rate.costs(1))[1] == at


def test_a_large_call_is_not_overtaken_by_small_ones():
    rate = build_rate(Limits(tokens_per_minute=60_000))
    rate, _ = rate.reserve(1000.0, rate.costs(4000))
    rate, large_at = rate.reserve(1000.0, rate.costs(4000))
    assert large_at > 1000.0
    assert rate.reserve(1000.0, rate.costs(1))[1] >= large_at


def test_giving_the_last_reservation_back_leaves_no_trace():
    rate = build_rate(Limits(calls_per_minute=60, tokens_per_minute=6000))
    for _ in range(3):
        rate, _ = rate.reserve(1000.0, rate.costs(500))
    costs = rate.costs(3000)
    held, _ = rate.reserve(1000.0, costs)
    back = held.give_back(costs)
    assert back.dims == rate.dims
    assert back.earliest(1000.0, costs) == rate.earliest(1000.0, costs)


def test_a_reservation_is_known_by_its_costs_tuple_not_by_its_amount():
    rate = calls_only(60)
    first, second = rate.costs(1), rate.costs(1)
    rate, _ = rate.reserve(1000.0, first)
    rate, _ = rate.reserve(1000.0, second)
    assert rate.give_back(first) is rate


def test_an_older_reservation_is_given_back_if_its_start_is_told():
    rate = calls_only(2)
    first = rate.costs(1)
    rate, start_at = rate.reserve(1000.0, first)
    rate, _ = rate.reserve(1000.0, rate.costs(1))
    assert rate.used(1030.0) == (1.0,)
    assert rate.give_back(first, start_at).used(1030.0) == (0.5,)


def test_giving_back_without_a_start_never_frees_too_much():
    rate = calls_only(2)
    first = rate.costs(1)
    rate, _ = rate.reserve(1000.0, first)
    rate, _ = rate.reserve(1000.0, rate.costs(1))
    assert rate.give_back(first).used(1030.0) == (1.0,)


def test_settling_changes_nothing_where_reserved_is_what_counts():
    rate = build_rate(Limits(tokens_per_minute=1000))
    costs = rate.costs(900)
    rate, at = rate.reserve(1000.0, costs)
    assert rate.settle(1001.0, costs, rate.costs(1), at) is rate


def test_a_third_dimension_holds_as_well():
    dims = [
        Dimension(stated(name, limit, window_s, 0.2, "reserved"))
        for name, limit, window_s in (
            ("calls", 100.0, 60.0),
            ("tokens", 1000.0, 60.0),
            ("tokens a day", 1500.0, 86_400.0),
        )
    ]
    rate = RateLimit(tuple(dims))
    costs = rate.costs(1000)
    rate, _ = rate.reserve(1000.0, costs)
    assert rate.earliest(1000.0, rate.costs(1000)) > 86_400.0
    assert rate.binding(1000.0, rate.costs(1000)) == "tokens a day"


def actual(per_minute: float) -> RateLimit:
    return build_rate(Limits(tokens_per_minute=per_minute, token_accounting="actual"))


def test_what_was_not_used_is_free_again_where_actual_counts():
    rate = actual(1000)
    costs = rate.costs(900)
    rate, at = rate.reserve(1000.0, costs)
    rate = rate.settle(1001.0, costs, rate.costs(100), at)
    assert rate.used(1001.0) == (0.1,)


def test_what_was_used_beyond_the_reservation_is_charged():
    rate = actual(1000)
    costs = rate.costs(100)
    rate, at = rate.reserve(1000.0, costs)
    rate = rate.settle(1001.0, costs, rate.costs(1000), at)
    assert rate.used(1001.0) == (1.0,)
    assert rate.earliest(1001.0, rate.costs(1)) > 1060.0


def test_settling_without_a_start_keeps_what_was_reserved():
    rate = actual(1000)
    costs = rate.costs(900)
    rate, _ = rate.reserve(1000.0, costs)
    assert rate.settle(1001.0, costs, rate.costs(100)).used(1001.0) == (0.9,)


def test_settling_what_has_left_the_window_changes_no_log():
    rate = actual(1000)
    costs = rate.costs(900)
    rate, at = rate.reserve(1000.0, costs)
    rate, _ = rate.reserve(1100.0, rate.costs(500))
    assert rate.settle(1101.0, costs, rate.costs(1), at).used(1101.0) == (0.5,)


def test_the_last_reservation_can_be_given_back_after_another_was_settled():
    rate = actual(1000)
    first, second = rate.costs(600), rate.costs(600)
    rate, first_at = rate.reserve(1000.0, first)
    rate, _ = rate.reserve(1000.0, second)
    rate = rate.settle(1001.0, first, rate.costs(100), first_at)
    assert rate.give_back(second).used(1001.0) == (0.1,)


def test_a_blocked_dimension_holds_its_calls_until_then():
    rate = build_rate(Limits(calls_per_minute=60, tokens_per_minute=6000))
    rate = rate.block(1030.0, "tokens")
    costs = rate.costs(10)
    assert rate.reserve(1000.0, costs)[1] == 1030.0
    assert rate.binding(1000.0, costs) == "tokens"
    assert (rate.headroom(1000.0), rate.headroom(1030.0)) == (0.0, 1.0)


@pytest.mark.parametrize("dimension", [None, "input_tokens"])
def test_a_server_that_names_no_dimension_of_ours_blocks_all(dimension):
    rate = build_rate(Limits()).block(1030.0, dimension)
    assert rate.reserve(1000.0, ())[1] == 1030.0


def test_a_block_is_never_shortened():
    rate = calls_only(60).block(1030.0, "calls")
    assert rate.block(1010.0, "calls").earliest(1000.0, (1.0,)) == 1030.0


def test_the_binding_dimension_is_the_one_that_makes_it_wait():
    rate = build_rate(Limits(calls_per_minute=6000, tokens_per_minute=1000))
    assert rate.binding(1000.0, rate.costs(900)) == ""
    rate, _ = rate.reserve(1000.0, rate.costs(900))
    assert rate.binding(1001.0, rate.costs(900)) == "tokens"


def test_a_moved_limit_keeps_what_was_charged():
    rate = build_rate(Limits(tokens_per_minute=1000))
    rate, _ = rate.reserve(1000.0, rate.costs(400))
    lower = moved(rate, 1001.0, Limits(tokens_per_minute=500))
    assert lower.used(1001.0) == (0.8,)
    assert lower.earliest(1001.0, lower.costs(200)) > 1060.0


def test_moving_to_the_same_limit_changes_nothing():
    dim = calls_only(60).dims[0]
    assert dim.move(1000.0, dim.stated) is dim


def test_units_that_others_took_are_counted_but_not_paced():
    dim = calls_only(60).dims[0].count(1000.0, 59.0)
    assert dim.earliest(1000.0, 1.0) == 1000.0
    assert 1060.0 < dim.count(1000.0, 1.0).earliest(1000.0, 1.0) < 1061.0


def test_a_limit_without_refunds_keeps_what_was_reserved():
    rate, at = actual(1000).reserve(1000.0, (400.0,))
    kept = rate.without_refunds(1001.0)
    assert kept.settle(1002.0, (400.0,), (1.0,), at).used(1002.0) == (0.4,)


def test_a_limit_moved_to_a_longer_window_counts_all_as_new():
    rate = calls_only(2)
    rate, _ = rate.reserve(1000.0, rate.costs(1))
    slower = moved(rate, 1001.0, Limits(calls_per_minute=0.5))
    assert slower.earliest(1001.0, slower.costs(1)) > 1120.0


def test_used_falls_to_nothing_after_a_window():
    rate = calls_only(2)
    rate, _ = rate.reserve(1000.0, rate.costs(1))
    assert (rate.used(1000.0), rate.used(1061.0)) == ((0.5,), (0.0,))
    assert rate.headroom(1000.0) == 0.5
