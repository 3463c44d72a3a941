"""Goals 1 to 5: how fast and how well `auto` finds the number of calls in flight.

Each is a median over seeds, through the real gate and its retries, on virtual time.
"""

from __future__ import annotations

import math
from statistics import median

import pytest

from goal_building import capped, latency, later_half, p99, refused_later, run
from headrace.simulation.measures import quantile
from headrace.simulation.recorder import Record

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("cap", "cv", "seeds"),
    [(16, 0.5, 20), (64, 0, 3), (64, 0.5, 20), (64, 1, 20), (256, 1, 5), (512, 0.5, 3)],
)
def test_goal_1_a_cap_is_nearly_used_within_8_durations(cap, cv, seeds):
    found = [
        run(capped(cap, cv), seed, cap, duration_s=13).measures["t95"]
        for seed in range(seeds)
    ]
    assert median(found) <= 8
    assert max(found) <= 12


def test_goal_1_also_if_durations_vary_wildly():
    found = [
        run(capped(64, 2), seed, 64, duration_s=12).measures["t95"]
        for seed in range(10)
    ]
    assert median(found) <= 8
    assert max(found) <= 12


@pytest.mark.parametrize(
    ("cap", "cv", "durations", "refused"),
    [
        (5, 0.5, 1_000, 0.005),
        (16, 0.5, 400, 0.002),
        (64, 0, 160, 0.002),
        (64, 1, 160, 0.002),
        (64, 2, 160, 0.002),
    ],
)
def test_goal_2_a_cap_is_used_and_hardly_ever_refuses(cap, cv, durations, refused):
    found = run(capped(cap, cv), 1, cap, duration_s=durations)
    assert found.measures["busy"] >= 0.98
    assert refused_later(found.record) <= refused


def test_goal_3_a_cap_that_falls_and_comes_back_is_followed():
    changes = [{"at_s": 40, "set": {"cap": 16}}, {"at_s": 80, "set": {"cap": 64}}]
    runs = [
        run(capped(64, 0.5, changes=changes), seed, 64, duration_s=120).measures
        for seed in range(3)
    ]
    assert median(found["phase2.refused"] for found in runs) <= 1.1 * (64 - 16)
    assert median(found["phase3.t95"] for found in runs) <= 25


@pytest.mark.parametrize("cv", [0.5, 1, 2])
def test_goal_4_where_nothing_limits_the_own_ceiling_is_reached_and_kept(cv):
    free = {"latency": latency(cv)}

    def reached_s(record: Record, ceiling: int) -> float:
        full = (m.at_s for m in record.moments if m.in_flight[0] >= ceiling)
        return next(full, math.inf)

    ceiling = {"max_in_flight": 256}
    found = [
        reached_s(run(free, seed, 256, duration_s=10, limits=ceiling).record, 256)
        for seed in range(5)
    ]
    assert median(found) <= 8
    kept = run(free, 1, 32, duration_s=200, limits={"max_in_flight": 32})
    in_flight = [m.in_flight[0] for m in kept.record.moments if m.at_s >= 100]
    assert sum(in_flight) / len(in_flight) >= 0.98 * 32


@pytest.mark.parametrize("cv", [0.5, 1])
def test_goal_5_a_server_that_queues_is_used_and_not_kept_waiting(cv):
    queues = {"latency": latency(cv), "cap": 64, "cap_mode": "queue"}
    used, slower = [], []
    for seed in range(3):
        found = run(queues, seed, 64, duration_s=120)
        used.append(found.measures["utilisation"])
        took = [e.duration_s for e in later_half(found.record) if e.duration_s]
        slower.append(quantile(took, 0.99) / p99(cv))
    assert median(used) >= 0.98
    assert median(slower) <= 1.5
