"""Jobs as programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.insight.sickness import sick_endpoints
from headrace.insight.tally import Tally
from headrace.jobs import Job, Trouble


def job_fields(job: Job) -> dict[str, Any]:
    """Return a job for programs."""
    fields: dict[str, Any] = msgspec.to_builtins(job)
    del fields["number"]
    fields["priority"] = job.priority.name.lower()
    fields["cost_usd"] = float(job.cost_usd)
    return fields


def why_fields(tally: Tally, troubles: Sequence[Trouble]) -> dict[str, Any]:
    """Return where the time of a job went, for programs."""
    return {
        "failures": msgspec.to_builtins(tally.failures()),
        "attempts": tally.attempts,
        "tries": tally.tries,
        "hedges": tally.hedges,
        "hedges_won": tally.hedges_won,
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "endpoints": tally.endpoints,
        "sick": msgspec.to_builtins(sick_endpoints(tally.answers, troubles)),
        "latency_s": {
            name: round(tally.calls.quantile(share), 4)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "time_s": {s.part: round(s.seconds, 3) for s in tally.attribution.shares()},
        "bound": tally.attribution.bound(),
    }
