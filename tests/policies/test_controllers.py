"""The named controllers, and several at once."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.model import CONTROLLERS, Limits
from headrace.policies.climbing import MOST, Throughput
from headrace.policies.concurrency import Aimd, Fixed, InFlightLimit, Sample, Verdict
from headrace.policies.controllers import Cpu, build_in_flight
from limit_world import MEAN_S, World, lognormal


def full(limit: InFlightLimit, verdict: Verdict = Verdict.OK, at: float = 1.0):
    """Let a call end at full use."""
    return limit.observe(Sample(at - 1.0, 1.0, limit.value, verdict))


def busy(limit: Cpu, share: float, seconds: int, from_s: float = 0.0) -> Cpu:
    """Let this machine be so busy for a while, at full use."""
    for second in range(seconds):
        limit = full(limit).note_load(from_s + second, share)
    return limit


# ---- cpu


def test_above_80_percent_of_the_cpus_fewer_calls_are_in_flight():
    limit = busy(Cpu(32, 512), 0.95, 60)
    assert limit.value < 20
    assert limit.reason == "CPU at 95 %"


def test_below_50_percent_more_are_if_all_slots_are_used():
    assert busy(Cpu(32, 512), 0.3, 60).value > 50
    unused = Cpu(32, 512)
    for second in range(60):
        unused = unused.note_load(second, 0.3)
    assert unused.value == 32


@pytest.mark.parametrize("share", [0.55, 0.65, 0.75])
def test_between_the_two_nothing_moves(share):
    assert busy(Cpu(32, 512), share, 120).value == 32


def test_one_busy_second_moves_nothing():
    calm = busy(Cpu(32, 512), 0.65, 20)
    peak = calm.note_load(20.0, 1.0)
    assert peak.value == calm.value


# ---- aimd


def test_losses_of_one_epoch_cut_once():
    limit = Aimd(40, 512)
    for _ in range(10):
        limit = full(limit, Verdict.OVERLOADED, at=5.0)
        assert limit.value == 30
    assert full(limit, Verdict.REFUSED, at=7.0).value == 22


def test_after_a_cut_it_takes_a_round_to_add_one():
    limit = full(Aimd(40, 512), Verdict.REFUSED, at=5.0)
    for _ in range(29):
        limit = full(limit, at=7.0)
    assert limit.value == 30
    assert full(limit, at=7.0).value == 31


# ---- throughput


def test_throughput_climbs_to_ten_where_more_brings_more():
    world = World(build_in_flight(Limits("throughput")), lognormal(0), seed=2)
    assert world.run(500 * MEAN_S).limit.value == MOST


@pytest.mark.slow
def test_throughput_hardly_falls_by_the_chance_of_varying_durations():
    used = []
    for seed in range(5):
        limit = build_in_flight(Limits("throughput"))
        world = World(limit, lognormal(0.5), seed=seed).run(2_000 * MEAN_S)
        used.append(world.use(MOST / MEAN_S, 1_000 * MEAN_S, 2_000 * MEAN_S))
    assert statistics.mean(used) >= 0.7


def test_throughput_stays_low_where_more_brings_nothing():
    limit = build_in_flight(Limits("throughput"))
    world = World(limit, lognormal(0), 3, queues=True, seed=2).run(2_000 * MEAN_S)
    later = [value for at, value in world.values if at > 1_000 * MEAN_S]
    assert max(later, default=world.limit.value) <= 5


def test_throughput_goes_higher_if_the_user_says_so():
    limit = build_in_flight(Limits("throughput", max_in_flight=40))
    assert isinstance(limit, Throughput)
    assert limit.ceiling == 40


# ---- several


def test_the_lowest_of_several_holds():
    limit = build_in_flight(Limits("auto+cpu", max_in_flight=24))
    for _ in range(100):
        limit = full(limit)
    assert limit.value == 24
    for second in range(60):
        limit = full(limit).note_load(second, 0.95)
    assert limit.value < 20
    assert limit.reason == "CPU at 95 %"


def test_only_those_who_heed_the_load_are_told_of_it():
    assert build_in_flight(Limits("aimd+cpu")).heeds_load
    assert not build_in_flight(Limits("auto+throughput")).heeds_load


def test_a_stated_number_is_fixed_and_learns_nothing():
    limit = build_in_flight(Limits(7), start=100)
    assert limit == Fixed(7)
    assert limit.learnt is None


names = st.lists(st.sampled_from(CONTROLLERS), min_size=1, unique=True).map("+".join)


@given(
    names,
    st.lists(st.tuples(st.sampled_from(Verdict), st.floats(0, 1)), max_size=120),
    st.integers(1, 40),
)
def test_every_controller_stays_between_one_and_its_ceiling(name, steps, most):
    limit, now = build_in_flight(Limits(name, max_in_flight=most)), 0.0
    for number, (verdict, share) in enumerate(steps, 1):
        now += 1.0
        sample = Sample(now - 0.9, 0.9, limit.value, verdict, number, number + 1)
        limit = limit.observe(sample).note_load(now, share)
        assert 1 <= limit.value <= most
    moved = limit.moved(max(1, most // 2))
    assert 1 <= moved.value <= max(1, most // 2)
