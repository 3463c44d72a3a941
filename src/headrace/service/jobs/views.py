"""Jobs and their items as clients read them, over HTTP and in live events alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.insight.jobfields import job_fields, why_fields
from headrace.insight.tally import Tally
from headrace.jobs import AttemptRecord, Job, Trouble
from headrace.jsonl.output import line_of
from headrace.model import Outcome

_INTERNAL = ("name", "rendered", "idempotency_key", "ending")


def job_view(job: Job) -> dict[str, Any]:
    """Return a job for clients."""
    fields = job_fields(job)
    for name in _INTERNAL:
        del fields[name]
    return {"object": "job", **fields}


def item_view(outcome: Outcome) -> dict[str, Any]:
    """Return an item that has ended, without its answer."""
    trace, failure = outcome.trace, outcome.failure
    return {
        "object": "item",
        "number": outcome.number,
        "index": outcome.index,
        "custom_id": outcome.id,
        "state": str(outcome.state),
        "status_code": outcome.status,
        "code": None if failure is None else str(failure.code),
        "message": None if failure is None else failure.message,
        "attempts": trace.attempts,
        "tries": trace.tries,
        "endpoint": trace.endpoint or None,
        "in_flight_s": trace.in_flight_s,
        "cost_usd": None if outcome.cost_usd is None else float(outcome.cost_usd),
    }


def attempt_view(record: AttemptRecord) -> dict[str, Any]:
    """Return a failed try, or an outcome that a retry has made the past."""
    return {
        "index": record.seq,
        "generation": record.generation,
        "attempt": record.attempt,
        "code": record.code,
        "message": record.message,
        "ended_at": record.ended_at,
        "status_code": record.status,
        "endpoint": record.endpoint or None,
        "in_flight_s": record.in_flight_s,
    }


def why_view(job: Job, tally: Tally, troubles: Sequence[Trouble]) -> dict[str, Any]:
    """Return where the time of a job went."""
    return {**job_view(job), **why_fields(tally, troubles)}


def outcome_line(job_id: str, outcome: Outcome) -> bytes:
    """Return an outcome as a line of an output file, and its number and state."""
    line = line_of(job_id, outcome)[:-2]
    state = str(outcome.state).encode()
    return b'%b,"number":%d,"state":"%b"}\n' % (line, outcome.number, state)
