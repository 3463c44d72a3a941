"""Where time went adds up."""

import pytest

from headrace.insight.attribution import PARTS, Attribution, Binding
from headrace.model import Trace


def of(**seconds):
    attribution = Attribution()
    attribution.add(Trace(**{f"{part}_s": s for part, s in seconds.items()}))
    return attribution


def test_the_shares_add_up_to_one_and_keep_their_order():
    shares = of(queued=1, rate=2, slot=3, in_flight=4).shares()
    assert [share.part for share in shares] == list(PARTS)
    assert sum(share.share for share in shares) == pytest.approx(1.0)


def test_without_items_all_shares_are_zero():
    assert {share.share for share in Attribution().shares()} == {0.0}


def test_every_part_of_a_trace_is_counted():
    trace = Trace(queued_s=1, rate_s=1, slot_s=1, endpoint_s=1, backoff_s=1)
    trace.in_flight_s = trace.recording_s = 1
    attribution = Attribution()
    attribution.add(trace)
    assert attribution.total_s == 7.0


def test_the_longest_wait_after_the_queue_is_what_bound():
    assert "--rpm" in of(queued=100, rate=5, slot=3, in_flight=4).bound()
    assert "--in-flight" in of(queued=100, rate=1, slot=3, in_flight=4).bound()


def test_short_waits_bind_nobody():
    assert "the answers" in of(queued=100, rate=0.01, in_flight=4).bound()
    assert "the answers" in Attribution().bound()


def test_binding_tells_the_limit_that_bound_longest_first():
    binding = Binding()
    binding.note("calls", 1.0)
    binding.note("in_flight", 3.0)
    assert [(s.part, s.share) for s in binding.shares()] == [
        ("in_flight", 0.75),
        ("calls", 0.25),
    ]


def test_binding_without_time_says_nothing():
    assert Binding().shares() == []
