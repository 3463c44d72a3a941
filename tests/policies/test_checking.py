"""When an endpoint is checked, and what a check changes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.breaker import Breaker
from headrace.policies.checking import Checks, Finding, finding_of

PATHS = ("/v1/models", "/health")
WELL, ILL, ABSENT = Finding.WELL, Finding.ILL, Finding.ABSENT


def new(now: float = 0.0) -> Checks:
    return Checks(PATHS, quiet_since=now)


def cut_off(now: float) -> Breaker:
    return Breaker().gone(now, 0.5, "dead")


@pytest.mark.parametrize(
    ("status", "body", "finding"),
    [
        (200, b'{"object":"list"}', WELL),
        (200, b"", WELL),
        (200, b" <html>", ABSENT),
        (302, b"", ABSENT),
        (404, b"", ABSENT),
        (405, b"", ABSENT),
        (403, b"", Finding.NOTHING),
        (429, b"", Finding.NOTHING),
        (503, b"", ILL),
    ],
)
def test_what_an_answer_says(status: int, body: bytes, finding: Finding) -> None:
    assert finding_of(status, body) is finding


def test_a_busy_endpoint_that_is_well_is_not_checked() -> None:
    checks, breaker = new(), Breaker()
    for now in range(0, 600, 2):
        checks = checks.seen(now, breaker, now, 1)
        assert not checks.is_due(now, breaker)


def test_an_idle_one_is_checked_each_30_s_and_faster_after_a_failure() -> None:
    checks, breaker = new(), Breaker()
    assert not checks.is_due(29.0, breaker)
    assert checks.is_due(30.0, breaker)
    well = checks.found(30.0, WELL)
    assert not well.is_due(59.0, breaker)
    assert well.is_due(60.0, breaker)
    assert checks.found(30.0, ILL).is_due(35.0, breaker)


def test_the_third_failure_cuts_it_off_if_another_is_well() -> None:
    checks, breaker = new(), Breaker()
    for now in (30.0, 35.0):
        assert checks.judge(breaker, now, 0.5, ILL, has_other=True) is breaker
        checks = checks.found(now, ILL)
    assert checks.judge(breaker, 40.0, 0.5, ILL, has_other=False) is breaker
    after = checks.judge(breaker, 40.0, 0.5, ILL, has_other=True)
    assert (after.state, after.reason) == ("open", "3 checks in a row failed")


def test_a_call_between_begins_the_count_anew() -> None:
    breaker = Breaker()
    checks = new().found(30.0, ILL).found(35.0, ILL).seen(36.0, breaker, 1, 0)
    assert checks.failures == 0


def test_failures_keep_it_out_and_a_success_makes_its_probe_due() -> None:
    breaker = cut_off(100.0)
    checks = new().seen(100.0, breaker, 5, 0)
    assert checks.is_due(100.0, breaker)
    held = checks.judge(breaker, 101.0, 0.5, ILL, has_other=True)
    assert not held.is_due(106.0)
    checks = checks.found(101.0, ILL)
    assert checks.judge(held, 106.0, 0.5, WELL, has_other=True).is_due(106.0)


def test_a_success_without_a_failure_before_says_nothing_new() -> None:
    breaker = cut_off(100.0)
    checks = new().seen(100.0, breaker, 5, 0)
    assert checks.judge(breaker, 101.0, 0.5, WELL, has_other=True) is breaker


def test_a_success_never_shortens_a_pause_that_was_asked_for() -> None:
    breaker = Breaker().parked(100.0, 0.5, 400.0, "it asked")
    checks = new().seen(100.0, breaker, 5, 0).found(101.0, ILL)
    after = checks.judge(breaker, 106.0, 0.5, WELL, has_other=True)
    assert not after.is_due(499.0)
    assert after.is_due(500.0)


def test_calls_that_go_well_while_checks_fail_end_the_checks() -> None:
    breaker = cut_off(100.0)
    checks = new().seen(100.0, breaker, 5, 0).found(101.0, ILL)
    closed = Breaker(generation=9)
    checks = checks.seen(150.0, closed, 9, 0)
    assert checks.judge(closed, 180.0, 0.5, ILL, has_other=True) is closed
    assert checks.found(180.0, ILL).paths == ()
    assert checks.found(180.0, WELL).paths == PATHS


def test_where_no_path_is_known_there_are_no_more_checks() -> None:
    checks = new().found(30.0, ABSENT)
    assert checks.paths == ("/health",)
    assert not checks.found(60.0, ABSENT).is_due(999.0, Breaker())


@given(st.lists(st.sampled_from([WELL, ILL, Finding.NOTHING]), max_size=60))
def test_no_more_checks_than_stated_and_a_call_after_300_s(
    findings: list[Finding],
) -> None:
    breaker, now, at = cut_off(100.0), 100.0, []
    checks = new()
    for finding in findings:
        while not (checks := checks.seen(now, breaker, 5, 0)).is_due(now, breaker):
            now += 2.0
        at.append(now)
        breaker = checks.judge(breaker, now, 0.5, finding, has_other=True)
        checks = checks.found(now, finding)
    assert all(b - a >= 5.0 for a, b in pairwise(at))
    assert all(b - a >= 30.0 for a, b in pairwise(at[4:]))
    assert breaker.is_due(400.0)
