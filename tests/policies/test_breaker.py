"""The health of one endpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.breaker import Breaker, BreakerRules

NOW = 1000.0


def after(breaker: Breaker, verdicts: str, now: float = NOW) -> Breaker:
    """Send calls one by one: `f`ail, `o`k, `n`eutral, `e`ject."""
    words = {"f": "fail", "o": "ok", "n": "neutral", "e": "eject"}
    for letter in verdicts:
        breaker, permit = breaker.admit(now)
        assert permit is not None
        breaker = breaker.observe(now, permit, words[letter], 0.5)
    return breaker


def opened() -> Breaker:
    return after(Breaker(), "fffff")


def test_a_new_endpoint_is_trusted():
    breaker, permit = Breaker().admit(NOW)
    assert (breaker.state, permit, breaker.retry_at) == ("closed", 0, None)


def test_five_failures_in_a_row_open_it():
    assert after(Breaker(), "ffff").state == "closed"
    assert opened().state == "open"
    assert opened().reason == "5 failures in a row"


def test_a_success_ends_the_row():
    assert after(Breaker(), "ffffoffff").state == "closed"


def test_half_of_at_least_ten_calls_failing_opens_it():
    assert after(Breaker(), "fofofofof").state == "closed"
    breaker = after(Breaker(), "fofofofoof")
    assert (breaker.state, breaker.reason) == (
        "open",
        "5 of 10 calls failed within 30 s",
    )


def test_failures_older_than_the_window_are_forgotten():
    breaker = after(Breaker(), "fofofofof", NOW)
    assert after(breaker, "of", NOW + 31).state == "closed"


def test_failures_within_the_window_are_remembered_across_its_buckets():
    breaker = Breaker()
    for i in range(9):
        breaker = after(breaker, "fo"[i % 2], NOW + 3 * i)
    assert after(breaker, "f", NOW + 27).state == "open"


def test_throttled_and_cancelled_calls_say_nothing():
    breaker = after(Breaker(), "ffff")
    assert after(breaker, "nnnnnnnnnnnn") is breaker
    assert breaker.release(0) is breaker


def test_a_spent_quota_opens_it_at_once_and_for_longer():
    breaker = after(Breaker(), "e")
    assert (breaker.state, breaker.reason) == ("open", "no quota is left")
    assert breaker.retry_at >= NOW + 60


def test_open_lets_nothing_through_until_its_time():
    breaker = opened()
    assert breaker.retry_at == NOW + 5
    assert breaker.admit(NOW + 4.99) == (breaker, None)
    assert breaker.admit(NOW + 5)[0].state == "half_open"


def test_the_time_open_is_spread_by_a_fifth_each_way():
    four = after(Breaker(), "ffff")
    assert four.observe(NOW, 0, "fail", 0.0).retry_at == pytest.approx(NOW + 4)
    assert four.observe(NOW, 0, "fail", 1.0).retry_at == pytest.approx(NOW + 6)


def test_a_retry_after_lengthens_the_time_open():
    four = after(Breaker(), "ffff")
    assert four.observe(NOW, 0, "fail", 0.5, 42.0).retry_at == NOW + 42
    assert four.observe(NOW, 0, "fail", 0.5, 1.0).retry_at == NOW + 5


def test_the_time_open_doubles_up_to_five_minutes():
    breaker, now, waits = opened(), NOW, []
    for _ in range(8):
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        breaker = after(breaker, "f", now)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_half_open_lets_one_call_through_at_a_time():
    breaker, permit = opened().admit(NOW + 5)
    assert permit is not None
    assert breaker.admit(NOW + 6) == (breaker, None)
    assert breaker.retry_at == NOW + 5 + breaker.probe_timeout_s


def test_a_probe_that_succeeds_closes_it():
    breaker = after(opened(), "o", NOW + 5)
    assert (breaker.state, breaker.reason, breaker.opened) == ("closed", "", 0)


def test_a_probe_that_fails_opens_it_again():
    assert after(opened(), "f", NOW + 5).state == "open"


def test_of_many_started_at_once_those_that_fail_at_once_do_not_cut_it_off_alone():
    breaker = Breaker()
    for _ in range(36):
        breaker = breaker.observe(NOW, breaker.generation, "fail", 0.5, None, 63)
    assert breaker.state == "closed"
    breaker = breaker.observe(NOW, breaker.generation, "fail", 0.5, None, 63)
    assert breaker.state == "open"


def test_of_many_started_at_once_five_without_a_connection_cut_it_off():
    breaker = Breaker()
    for n in range(5):
        breaker = breaker.observe(NOW, breaker.generation, "gone", 0.5, None, 63 - n)
    assert breaker.state == "open"


@pytest.mark.parametrize("end", ["release", "neutral"])
def test_a_probe_that_says_nothing_gives_its_permit_back(end):
    breaker, permit = opened().admit(NOW + 5)
    if end == "release":
        breaker = breaker.release(permit)
    else:
        breaker = breaker.observe(NOW + 6, permit, "neutral", 0.5)
    assert breaker.state == "half_open"
    assert breaker.retry_at is None
    assert breaker.admit(NOW + 6)[1] is not None


def test_a_lost_probe_is_replaced_after_its_time_and_then_heeded_no_more():
    breaker, lost = Breaker(probe_timeout_s=20.0, generation=7).admit(NOW)
    breaker, lost = after(Breaker(probe_timeout_s=20.0), "fffff").admit(NOW + 5)
    assert breaker.admit(NOW + 24.9)[1] is None
    breaker, permit = breaker.admit(NOW + 25)
    assert permit != lost
    assert breaker.observe(NOW + 26, lost, "fail", 0.5) is breaker
    assert breaker.release(lost) is breaker


def test_results_of_an_older_generation_change_nothing():
    breaker, old = Breaker().admit(NOW)
    breaker = after(breaker, "fffff")
    assert breaker.observe(NOW, old, "ok", 0.5) is breaker
    half_open, _ = breaker.admit(NOW + 5)
    assert half_open.observe(NOW + 5, old, "ok", 0.5) is half_open
    assert half_open.observe(NOW + 5, old, "eject", 0.5) is half_open
    well = after(breaker, "oo", NOW + 5)
    assert well.observe(NOW + 6, old, "fail", 0.5) is well


STEPS = st.lists(
    st.tuples(
        st.floats(0, 8),
        st.sampled_from(["admit", "ok", "fail", "neutral", "eject", "release"]),
        st.integers(0, 50),
        st.floats(0, 1, exclude_max=True),
    ),
    max_size=150,
)


def admitted(before: Breaker, now: float, out: list[int]) -> Breaker:
    """Ask for a permit, and check what half-open and open promise."""
    breaker, permit = before.admit(now)
    if before.state == "open" and now < before.retry_at:
        assert permit is None
    if permit is None:
        assert breaker is before
        assert breaker.retry_at > now
        return breaker
    out.append(permit)
    assert breaker.state == "closed" or out.count(breaker.generation) == 1
    return breaker


def ended(before: Breaker, now: float, permit: int, what: str, u: float) -> Breaker:
    """End a call, and check that an older generation changes nothing."""
    if what == "release":
        breaker = before.release(permit)
    else:
        breaker = before.observe(now, permit, what, u)
    assert permit == before.generation or breaker is before
    return breaker


@pytest.mark.slow
@given(STEPS, st.floats(5, 40))
def test_whatever_happens_open_admits_none_and_half_open_one(steps, probe_timeout_s):
    breaker, now = Breaker(probe_timeout_s=probe_timeout_s), NOW
    out: list[int] = []
    for pause_s, what, which, u in steps:
        now += pause_s
        before = breaker
        if what == "admit":
            breaker = admitted(before, now, out)
        elif out:
            breaker = ended(before, now, out.pop(which % len(out)), what, u)
        assert breaker.generation >= before.generation
        assert breaker.state == before.state or breaker.generation > before.generation


@pytest.mark.slow
@given(st.lists(st.sampled_from("fo"), max_size=60))
def test_it_opens_exactly_when_its_rules_say_so(verdicts):
    rules = BreakerRules()
    breaker, seen = Breaker(), ""
    for verdict in verdicts:
        breaker = after(breaker, verdict)
        seen += verdict
        failures = seen.count("f")
        row = seen.endswith("f" * rules.consecutive)
        ratio = len(seen) >= rules.min_calls and failures * 2 >= len(seen)
        expected = verdict == "f" and (row or ratio)
        assert (breaker.state == "open") == expected
        if expected:
            return
