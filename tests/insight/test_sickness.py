"""Which endpoints are called sick."""

from __future__ import annotations

from headrace.insight.sickness import Answers, Sick, sick_endpoints
from headrace.jobs import Trouble

GOOD = Answers(100, 100, 10.0)


def kinds(found: list[Sick]) -> dict[str, str]:
    return {sick.endpoint: sick.kind for sick in found}


def test_endpoints_that_answer_are_well() -> None:
    assert sick_endpoints({"a": GOOD, "b": GOOD}, []) == []


def test_one_that_answered_nothing_is_dead() -> None:
    found = sick_endpoints({"a": GOOD}, [Trouble("b", "connect_failed", 9, "refused")])
    assert kinds(found) == {"b": "dead"}
    assert (found[0].failed, found[0].example) == (9, "refused")


def test_one_that_fails_often_is_named_with_its_most_frequent_error() -> None:
    troubles = [
        Trouble("b", "server_error", 30, "500"),
        Trouble("b", "request_timeout", 5, "late"),
        Trouble("a", "server_error", 2, "500"),
    ]
    found = sick_endpoints({"a": GOOD, "b": GOOD}, troubles)
    assert kinds(found) == {"b": "failing"}
    assert (found[0].failed, found[0].code) == (35, "server_error")


def test_one_that_refuses_for_its_limits_is_not_sick() -> None:
    troubles = [Trouble("b", "rate_limited", 300, "slow down")]
    assert sick_endpoints({"a": GOOD, "b": GOOD}, troubles) == []


def test_one_that_is_far_slower_than_the_fastest_is_slow() -> None:
    found = sick_endpoints({"a": GOOD, "b": Answers(10, 10, 10.0)}, [])
    assert kinds(found) == {"b": "slow"}
    assert round(found[0].times) == 10


def test_two_answers_say_nothing_of_how_fast_an_endpoint_is() -> None:
    assert sick_endpoints({"a": GOOD, "b": Answers(2, 2, 10.0)}, []) == []
