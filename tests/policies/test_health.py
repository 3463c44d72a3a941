"""What a pool does about its sick endpoints, and how fast an endpoint is."""

from __future__ import annotations

import pytest

from headrace.policies.breaker import Breaker
from headrace.policies.health import (
    NO_LATENCY,
    NO_REFUSALS,
    Latency,
    Refusals,
    is_panic,
    is_worth_waiting,
    may_eject,
    warmth,
)

NOW = 1000.0


def seen(*durations_s: float, every_s: float = 1.0) -> Latency:
    latency = NO_LATENCY
    for i, duration_s in enumerate(durations_s):
        latency = latency.answered(NOW + i * every_s, duration_s)
    return latency


def refused(times: int, every_s: float) -> Refusals:
    refusals = NO_REFUSALS
    for i in range(times):
        refusals = refusals.refused(NOW + i * every_s)
    return refusals


def test_a_slow_call_counts_at_once_and_is_forgotten_over_ten_seconds():
    assert seen(1.0, 8.0).peak_s == 8.0
    assert seen(8.0, 1.0, every_s=10.0).peak_s == pytest.approx(1 + 7 / 2.71828, 1e-3)


def test_a_latency_falls_with_time_only_while_nothing_is_in_flight():
    latency = seen(8.0)
    assert latency.value(NOW + 60.0, in_flight=1) == 8.0
    assert latency.value(NOW + 10.0, in_flight=0) == pytest.approx(8 / 2.71828, 1e-3)


def test_the_mean_follows_about_the_last_64_calls():
    assert seen(*[1.0] * 64, *[3.0] * 256).mean_s == pytest.approx(3.0, rel=0.02)


def test_a_fast_endpoint_is_waited_for_only_if_that_ends_sooner():
    assert is_worth_waiting(slow_s=10.0, fast_s=1.0, frees_s=0.1)
    assert not is_worth_waiting(slow_s=10.0, fast_s=1.0, frees_s=9.5)
    assert not is_worth_waiting(slow_s=4.0, fast_s=1.0, frees_s=0.1)


def test_half_of_a_pool_and_at_least_one_may_be_cut_off():
    found = [max(n + 1 for n in range(9) if may_eject(n, pool)) for pool in range(1, 7)]
    assert found == [1, 1, 1, 2, 2, 3]


def test_a_pool_panics_below_half_and_a_single_endpoint_never_does():
    assert is_panic(1, 4)
    assert not is_panic(2, 4)
    assert not is_panic(0, 1)


def test_an_endpoint_starts_with_a_tenth_and_has_all_after_thirty_seconds():
    assert [warmth(s) for s in (0.0, 15.0, 30.0, 99.0)] == [0.1, 0.5, 1.0, 1.0]


def test_ten_refusals_and_no_answer_for_a_minute_are_hopeless():
    assert refused(10, 6.4).is_hopeless(NOW + 61, NO_LATENCY)
    assert not refused(9, 6.4).is_hopeless(NOW + 61, NO_LATENCY)
    assert not refused(20, 2.0).is_hopeless(NOW + 59, NO_LATENCY)


def test_where_calls_are_long_it_takes_three_times_as_long_to_lose_hope():
    assert not refused(10, 6.4).is_hopeless(NOW + 61, seen(40.0))
    assert refused(10, 6.4).is_hopeless(NOW + 121, seen(40.0))


def closed_after(verdicts: str) -> Breaker:
    breaker = Breaker()
    words = {"f": "fail", "o": "ok", "g": "gone", "e": "eject"}
    for letter in verdicts:
        breaker = breaker.observe(NOW, breaker.generation, words[letter], 0.5)
    return breaker


@pytest.mark.parametrize(
    ("verdicts", "is_hard"),
    [
        ("ofofofofof", False),
        ("offfff", False),
        ("fffff", True),
        ("offffg", True),
        ("e", True),
    ],
)
def test_who_never_answers_is_of_no_use_and_who_does_now_and_then_is(verdicts, is_hard):
    breaker = closed_after(verdicts)
    assert (breaker.state, breaker.is_hard) == ("open", is_hard)


def test_a_probe_that_fails_leaves_a_useless_endpoint_useless():
    breaker, permit = closed_after("fffff").admit(NOW + 20.0)
    assert permit is not None
    again = breaker.observe(NOW + 21.0, permit, "fail", 0.5)
    assert (again.state, again.is_hard) == ("open", True)
