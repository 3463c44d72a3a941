"""Which endpoint gets the next call."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.policies.balance import (
    STRATEGIES,
    Headroom,
    HealthAware,
    P2cEwma,
    PriorityTiers,
    RoundRobin,
    Sticky,
    WeightedRoundRobin,
    balancer_named,
)
from headrace.policies.choosing import Ask, Balancer, Candidate

CANDIDATES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        *[
            st.builds(
                Candidate,
                st.just(i),
                st.just(f"e{i}"),
                st.integers(0, 20),
                st.integers(21, 40),
                st.floats(0, 1),
                st.floats(0.1, 10),
                st.floats(0, 100),
                st.booleans(),
                st.floats(0, 1),
                st.integers(0, 2),
            )
            for i in range(n)
        ]
    )
)


def free(index: int, in_flight: int = 0, **fields: float) -> Candidate:
    return Candidate(index, f"e{index}", in_flight, 10, **fields)


def chosen(balancer: Balancer, *candidates: Candidate, ask: Ask = Ask()) -> int | None:
    return balancer.choose(candidates, ask)[1]


def spread(
    balancer: Balancer, candidates: list[Candidate], times: int
) -> Counter[int | None]:
    """Choose again and again, with evenly spread chance."""
    found: Counter[int | None] = Counter()
    for i in range(times):
        ask = Ask((i * 0.618034) % 1.0, tiers={0: 1.0})
        balancer, place = balancer.choose(candidates, ask)
        found[place] += 1
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_is_chosen_of_none(strategy):
    assert chosen(balancer_named(strategy)) is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equals_take_turns(strategy):
    found = spread(balancer_named(strategy), [free(i) for i in range(3)], 300)
    assert all(95 <= found[i] <= 105 for i in range(3))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.slow
@given(CANDIDATES, st.floats(0, 1, exclude_max=True), st.text(max_size=3))
def test_the_chosen_one_is_a_candidate(strategy, candidates, u, affinity):
    tiers = {c.tier: 1.0 for c in candidates}
    ask = Ask(u, affinity, tiers)
    _, place = balancer_named(strategy).choose(candidates, ask)
    assert place is not None
    assert 0 <= place < len(candidates)


@pytest.mark.parametrize(
    "strategy", ["round_robin", "weighted_round_robin", "random", "p2c_ewma"]
)
def test_nobody_starves_however_light_or_slow(strategy):
    pool = [free(0, weight=5.0), free(1, weight=1.0), free(2, weight=2.0)]
    found = spread(balancer_named(strategy), pool, 400)
    assert min(found[i] for i in range(3)) > 0 or strategy == "p2c_ewma"


def test_an_unknown_strategy_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="'fastest', allowed headroom, least_conn"):
        balancer_named("fastest")


# ---- headroom


def test_the_one_with_the_most_free_slots_is_chosen():
    assert chosen(Headroom(), free(0, 8), free(1, 2)) == 1


def test_the_tightest_limit_of_each_is_what_counts():
    assert chosen(Headroom(), free(0, rate_headroom=0.1), free(1, 7)) == 1


def test_weight_multiplies_the_room():
    assert chosen(Headroom(), free(0), free(1, 5, weight=3.0)) == 1


def test_an_endpoint_whose_rate_is_used_up_still_serves_if_it_is_the_only_one():
    assert chosen(Headroom(), free(4, rate_headroom=0.0)) == 0


def test_a_fast_endpoint_with_less_room_goes_before_one_that_is_ten_times_slower():
    fast, slow = free(0, 7, latency_s=1.0), free(1, 0, latency_s=10.0)
    assert chosen(Headroom(), fast, slow) == 0


def test_endpoints_of_nearly_the_same_speed_are_compared_by_room_alone():
    assert chosen(Headroom(), free(0, 7, latency_s=1.0), free(1, latency_s=1.9)) == 1


def test_where_limits_are_only_found_the_quickest_for_its_load_is_chosen():
    quick = free(0, 5, latency_s=1.0, is_learnt=True)
    idle = free(1, 0, latency_s=8.0, is_learnt=True)
    assert chosen(Headroom(), quick, idle) == 0


def test_of_more_than_32_the_better_of_two_drawn_is_chosen():
    many = [free(i, i % 10) for i in range(40)]
    found = spread(Headroom(), many, 500)
    assert sum(found[p] for p in range(40) if many[p].in_flight > 7) < 60
    assert len(found) > 30


# ---- the others


def test_turns_go_round_in_order_whoever_is_left_out():
    balancer: Balancer = RoundRobin()
    order = []
    for pool in ([0, 1, 2], [0, 2], [0, 1, 2], [0, 1, 2]):
        balancer, place = balancer.choose([free(i) for i in pool], Ask())
        assert place is not None
        order.append(pool[place])
    assert order == [0, 2, 0, 1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_smooth_turns_keep_each_within_one_call_of_its_share(weights):
    pool = [free(i, weight=float(w)) for i, w in enumerate(weights)]
    balancer: Balancer = WeightedRoundRobin()
    found = [0] * len(pool)
    for n in range(1, 2 * sum(weights) + 1):
        balancer, place = balancer.choose(pool, Ask())
        assert place is not None
        found[place] += 1
        for weight, count in zip(weights, found, strict=True):
            assert abs(count - n * weight / sum(weights)) <= 1.0 + 1e-9


def test_random_follows_the_weights():
    found = spread(balancer_named("random"), [free(0, weight=3.0), free(1)], 400)
    assert found[0] == pytest.approx(300, abs=8)


def test_the_sounder_of_two_equally_busy_is_chosen():
    assert chosen(HealthAware(), free(0, 2, success_share=0.5), free(1, 2)) == 1


def test_two_choices_take_the_one_that_will_be_done_sooner():
    for u in (0.0, 0.3, 0.6, 0.9):
        pair = free(0, 1, latency_s=9.0), free(1, 1, latency_s=1.0)
        assert chosen(P2cEwma(), *pair, ask=Ask(u)) == 1


def test_the_first_tier_has_all_calls_while_most_of_it_is_well():
    pool = [free(0, 9, tier=0), free(1, tier=1)]
    for share in (1.0, 0.75):
        ask = Ask(0.999, tiers={0: share, 1: 1.0})
        assert chosen(PriorityTiers(), *pool, ask=ask) == 0


def test_a_tier_that_lost_half_its_health_passes_three_tenths_on():
    pool = [free(0, tier=0), free(1, tier=1)]
    places = [
        chosen(PriorityTiers(), *pool, ask=Ask(i / 100, tiers={0: 0.5, 1: 1.0}))
        for i in range(100)
    ]
    assert places.count(1) == pytest.approx(30, abs=1)


def test_a_full_tier_makes_calls_wait_instead_of_paying_for_the_next_one():
    ask = Ask(0.5, tiers={0: 1.0, 1: 1.0})
    assert chosen(PriorityTiers(), free(1, tier=1), ask=ask) is None


def test_the_same_prompt_goes_to_the_same_endpoint():
    pool = [free(i) for i in range(4)]
    homes = {chosen(Sticky(turn), *pool, ask=Ask(0, "a")) for turn in range(9)}
    assert len(homes) == 1
    spread_over = {chosen(Sticky(), *pool, ask=Ask(0, str(i))) for i in range(40)}
    assert spread_over == {0, 1, 2, 3}


def test_a_prompt_moves_only_if_its_own_endpoint_goes():
    pool = [free(i) for i in range(4)]
    for name in map(str, range(40)):
        home = chosen(Sticky(), *pool, ask=Ask(0, name))
        if home != 3:
            assert chosen(Sticky(), *pool[:3], ask=Ask(0, name)) == home


@given(CANDIDATES, st.text(max_size=3))
@pytest.mark.slow
def test_no_prompt_overloads_its_endpoint(candidates, affinity):
    place = chosen(Sticky(), *candidates, ask=Ask(0, affinity or "a"))
    assert place is not None
    if len(candidates) > 1:
        calls = sum(c.in_flight for c in candidates) + 1
        weights = sum(c.weight for c in candidates)
        share = 1.25 * calls * candidates[place].weight / weights
        assert candidates[place].in_flight < share + 1
