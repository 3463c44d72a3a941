from __future__ import annotations

import io
import json
from typing import Any

from headrace.clock import SystemClock
from headrace.events import TryFailed
from headrace.service.operations.trylog import MOST_PER_S, TryLog
from headrace.telemetry.logs import Masking, logging_to


class StillClock(SystemClock):
    """A clock that moves when told."""

    now = 100.0

    def monotonic(self) -> float:  # type: ignore[override]
        return self.now


def failed(number: int, wait_s: float | None = None) -> TryFailed:
    return TryFailed(
        f"job_a-{number}", "bad_call", "key sk-0123456789abcdefgh", "e", wait_s, 2
    )


def logged(*events: TryFailed, then: TryFailed | None = None) -> list[Any]:
    stream, clock = io.StringIO(), StillClock()
    log = TryLog(clock)
    with logging_to(stream, Masking(), as_json=True):
        for event in events:
            log.tried(event)
        clock.now += 1.5
        if then is not None:
            log.tried(then)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_failure_is_logged_with_the_ids_of_job_item_and_attempt() -> None:
    (line,) = logged(failed(7))
    assert (line["job"], line["item"], line["attempt"]) == ("job_a", "7", 2)
    assert "sk-" not in line["message"]


def test_what_is_tried_again_is_not_logged() -> None:
    assert logged(failed(7, 1.0)) == []


def test_many_failures_are_counted_not_told() -> None:
    lines = logged(*(failed(n) for n in range(500)), then=failed(500))
    assert len(lines) == MOST_PER_S + 2
    assert (
        lines[MOST_PER_S]["message"] == f"{500 - MOST_PER_S} more calls failed for good"
    )
