"""Outcomes add up in memory that does not grow."""

from headrace.errors import ErrorCode
from headrace.insight.tally import Tally
from headrace.model import Failure, ItemState, Outcome, Trace, Usage


def failed(name, code, status=None):
    failure = Failure(code, f"message of {name}", status)
    return Outcome(name, 0, ItemState.FAILED, failure=failure)


def test_states_tokens_and_tries_add_up():
    tally = Tally()
    for _ in range(3):
        trace = Trace(attempts=1, tries=2, in_flight_s=4.0, endpoint="http://a")
        tally.add(Outcome("a", 0, ItemState.SUCCEEDED, usage=Usage(2, 3), trace=trace))
    tally.add(Outcome("b", 1, ItemState.CANCELLED))
    assert tally.states[ItemState.SUCCEEDED] == 3
    assert (tally.input_tokens, tally.output_tokens, tally.tries) == (6, 9, 6)
    assert (tally.total, tally.endpoints) == (4, {"http://a": 3})
    assert tally.calls.count == 3


def test_failures_are_sorted_by_how_many_with_the_first_as_example():
    tally = Tally()
    tally.add(failed("a", ErrorCode.TIMED_OUT))
    tally.add(failed("b", ErrorCode.BAD_CALL, 400))
    tally.add(failed("c", ErrorCode.BAD_CALL, 400))
    first, second = tally.failures()
    assert (first.code, first.count, first.example_id) == ("bad_call", 2, "b")
    assert second.code == "request_timeout"


def test_ever_new_kinds_of_failures_share_one_class_in_the_end():
    tally = Tally()
    for status in range(500):
        tally.add(failed("a", ErrorCode.SERVER_ERROR, status))
    assert len(tally.failures()) <= 51
    assert sum(each.count for each in tally.failures()) == 500
