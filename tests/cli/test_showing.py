"""What a run shows while it goes on, and afterwards."""

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from headrace.cli.showing import JsonLines, PlainLines, progress_line
from headrace.cli.summary import Summary, summary_event, summary_lines
from headrace.cli.terminal import view_of
from headrace.errors import ErrorCode
from headrace.events import BreakerMoved, EndpointView, Progress, TryFailed
from headrace.insight.attribution import Binding
from headrace.insight.tally import Tally
from headrace.jobs import Counts, Job, JobState
from headrace.model import Failure, ItemState, Outcome, Trace, Usage

PROGRESS = Progress(
    counts=Counts(total=1_000, queued=700, running=44, succeeded=250, failed=6),
    elapsed_s=12.0,
    in_flight=32,
    waiting=9,
    backing_off=3,
    calls_per_s=21.4,
    tokens_per_s=1_234.0,
    input_tokens=1,
    output_tokens=2,
    tries=300,
    binding="calls",
    left_s=35.0,
    endpoints=(EndpointView("http://a", 32, 32, "open", 0.98, 0.02),),
)
JOB = Job("job_1", 1, "run:x", JobState.COMPLETED, Counts(2, 0, 0, 1, 1), 3, 0.0)


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def tallied():
    tally = Tally()
    trace = Trace(attempts=1, tries=2, rate_s=3.0, in_flight_s=1.0)
    tally.add(Outcome("a", 0, ItemState.SUCCEEDED, usage=Usage(5, 7), trace=trace))
    failure = Failure(ErrorCode.BAD_CALL, "no \x1b[31m such thing", 400)
    tally.add(Outcome("b", 1, ItemState.FAILED, failure=failure, trace=trace))
    return tally


def summary(job=JOB, tally=None, errors=None, bad_lines=0):
    return Summary(
        job, Path("/o"), errors, "h.db", bad_lines, tally or Tally(), Binding(), 2.0
    )


def test_one_line_says_how_a_run_stands():
    assert progress_line(PROGRESS) == (
        "256 of 1,000 done (6 failed), 32 in flight, 3 backing off, 21.4 calls/s, "
        "1,234 tokens/s, 98 % of calls/min, 2.0 % of tokens/min, "
        "held by calls per minute, ends in 35.0 s"
    )


@pytest.mark.parametrize("width", [40, 100])
def test_the_terminal_shows_figures_limits_and_the_end(width):
    console = Console(width=width, file=io.StringIO())
    console.print(view_of(PROGRESS, "out.jsonl", None))
    rows = console.file.getvalue().splitlines()
    assert len(rows) == 4
    assert max(map(len, rows)) <= width


def test_a_cut_off_endpoint_is_named_on_the_terminal():
    console = Console(width=120, file=io.StringIO())
    console.print(view_of(PROGRESS, "out.jsonl", None))
    shown = console.file.getvalue()
    for text in ("256 of 1,000", "26 %", "98 %", "open", "calls per minute", "35.0 s"):
        assert text in shown


def test_events_are_one_object_a_line():
    stream = io.StringIO()
    shown = JsonLines(stream, io.StringIO(), lambda: None)
    shown.progress(PROGRESS)
    shown.happened(TryFailed("a-1", "server_error", "HTTP 500", "http://a", 0.5))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["progress", "try_failed"]
    assert events[0]["counts"]["total"] == 1_000


def test_a_reader_who_leaves_is_told_of_once_and_raises_nothing():
    left = []
    shown = JsonLines(Gone(), io.StringIO(), lambda: left.append(1))
    shown.progress(PROGRESS)
    shown.progress(PROGRESS)
    assert left == [1]


def test_plain_lines_come_soon_and_then_seldom():
    shown = PlainLines(io.StringIO())
    first_s = shown.interval_s
    shown.progress(PROGRESS)
    assert first_s < shown.interval_s


def test_plain_lines_tell_of_a_cut_off_endpoint_and_survive_a_closed_stream():
    stream = io.StringIO()
    PlainLines(stream).happened(BreakerMoved("http://a", "open", "5 failures"))
    assert "http://a is cut off for a while: 5 failures" in stream.getvalue()
    PlainLines(Gone()).say("nobody hears this")


def test_the_summary_tells_failures_by_class_and_what_to_do_next():
    text = "\n".join(summary_lines(summary(tally=tallied(), errors=Path("/e"))))
    for part in ("1 of 2 items succeeded", "bad_call", "such as b", "5 in, 7 out"):
        assert part in text
    assert "headrace jobs retry job_1 --store h.db" in text
    assert "75 %  waiting for the rate limit" in text
    assert "\x1b" not in text


def test_the_summary_of_an_interrupted_run_says_how_to_go_on():
    job = Job("j", 1, "r", JobState.IN_PROGRESS, Counts(total=5, succeeded=2), 3, 0.0)
    lines = summary_lines(summary(job))
    assert lines[0].startswith("interrupted")
    assert "3 still to do" in lines[0]
    assert "same command again" in lines[-1]


def test_the_summary_is_an_event_for_programs():
    event = json.loads(json.dumps(summary_event(summary(tally=tallied()))))
    assert event["this_run"]["failures"][0]["code"] == "bad_call"
    assert event["this_run"]["time_s"]["rate"] == 6.0


def test_a_found_limit_is_shown_with_the_reason_of_its_last_move():
    found = EndpointView("http://a", 60, 64, "closed", limit_reason="refused at 65")
    progress = msgspec.structs.replace(PROGRESS, endpoints=(found,))
    assert "in flight of 64 (refused at 65)" in progress_line(progress)
    console = Console(file=io.StringIO(), width=160)
    console.print(view_of(progress, "x", None))
    assert "60 of 64 (refused at 65)" in console.file.getvalue()


def test_the_cost_says_what_it_leaves_out():
    told = msgspec.structs.replace(summary(tally=tallied()), has_prices=True)
    assert "0.00 USD, without 2 items whose model has no price" in "\n".join(
        summary_lines(told)
    )
