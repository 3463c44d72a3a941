"""Goals 8 to 10: what failures cost, through the real gate, retries and breakers."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

from goal_building import capped, latency, run
from headrace.simulation.rehearsal import rehearse
from headrace.simulation.trial_file import trial_from

pytestmark = pytest.mark.slow

CALLERS = 64
OUTAGE_S = (20.0, 50.0)
LONGEST_OPEN_S = 20.0 * 1.2
"""Third time open, longest jitter: the outage lasts for three."""


def failing(share: float, seed: int, duration_s: float, error_s: float = 1.0):
    """Call a server that fails a share of the calls, after `error_s` each."""
    return run(
        {
            "latency": latency(0.5),
            "error_rates": {500: share},
            "error_latency": f"constant:{error_s}",
        },
        seed,
        CALLERS,
        workload={"callers": CALLERS},
        limits={"in_flight": CALLERS},
        duration_s=duration_s,
    )


def test_goal_8_a_dead_server_is_hardly_called_more_often_than_there_are_calls():
    for seed in range(3):
        record = failing(1.0, seed, 300).record
        begun = CALLERS + len(record.endings)
        assert record.moments[-1].sent <= 1.2 * begun


def test_goal_8_a_tenth_of_failures_costs_no_more_than_its_retries():
    found = [failing(0.1, seed, 60).measures for seed in range(3)]
    assert median(m["tries_per_call"] for m in found) <= 1.0 / 0.9 * 1.03
    assert all(m["failed"] == 0 for m in found)


def test_a_lone_server_that_fails_a_tenth_at_once_is_used_all_the_same():
    found = [failing(0.1, seed, 60, error_s=0.1).measures for seed in range(5)]
    assert min(m["utilisation"] for m in found) >= 0.85
    assert all(m["failed"] == 0 for m in found)


def test_goal_9_a_server_is_called_again_one_open_time_after_it_came_back():
    from_s, to_s = OUTAGE_S
    outage = {"from_s": from_s, "to_s": to_s, "kind": "refuse"}
    for seed in range(5):
        record = run(
            capped(16, 0.5, outages=[outage]),
            seed,
            16,
            limits={"in_flight": 16},
            duration_s=90,
        ).record
        back_s = min(e.at_s for e in record.endings if e.is_ok and e.at_s > to_s)
        assert back_s - to_s <= LONGEST_OPEN_S + 3.0  # and one probe
        assert all(ending.is_ok for ending in record.endings)


SICK: dict[str, dict[str, Any]] = {
    "slow": {"latency": latency(0.5, 10.0)},
    "failing": {"error_rate": 0.5},
    "dead": {"error_rates": {503: 1.0}, "error_latency": "constant:0.01"},
}


@pytest.mark.parametrize("limit", [16, "auto"])
@pytest.mark.parametrize("sick", SICK)
def test_goal_10_one_sick_of_four_takes_nothing_from_the_other_three(sick, limit):
    upstreams = {name: capped(16, 0.5) for name in ("one", "two", "three")}
    upstreams["four"] = capped(16, 0.5) | SICK[sick]
    trial = trial_from(
        {
            "upstreams": upstreams,
            "limits": {"in_flight": limit},
            "duration_s": 60,
            "best": {"in_flight": [16], "without": ["four"]},
        },
        "goal",
    )
    found = rehearse(trial, 1)
    assert found.measures["utilisation"] >= 0.95
    assert found.measures["failed"] == 0
    if sick == "dead":
        in_flight = 16 if limit == 16 else 2
        probes = 5
        assert found.record.sent["four"] <= 5 + in_flight + probes
