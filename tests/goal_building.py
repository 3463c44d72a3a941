"""Runs of the real gate against one server, measured in units of a call's duration.

Calls take 1 s on average, so a second is a round-trip of the goals. The best fixed limit
is known of these servers, and not run each time.
"""

from __future__ import annotations

import math
from typing import Any

from headrace.simulation.measures import Benchmark
from headrace.simulation.recorder import Ending, Record
from headrace.simulation.rehearsal import Rehearsal, rehearse
from headrace.simulation.trial_file import trial_from

REFUSAL_S = 0.01


def latency(cv: float, mean_s: float = 1.0) -> str:
    """Return durations with this mean and coefficient of variation."""
    return f"lognormal:{mean_s}:{cv}" if cv else f"constant:{mean_s}"


def capped(cap: int, cv: float, **more: Any) -> dict[str, Any]:
    """Return a server that refuses what is one too many."""
    return {"latency": latency(cv), "cap": cap, "refusal_s": REFUSAL_S, **more}


def run(
    upstream: dict[str, Any], seed: int, best: int = 1, **settings: Any
) -> Rehearsal:
    """Run one server's scenario.

    Args:
        upstream: what the server is like.
        seed: same seed, same run.
        best: the best fixed limit.
        settings: further keys of a scenario.
    """
    trial = trial_from({"upstream": upstream, **settings}, "goal")
    known = Benchmark(best, float(best), 1.0, math.nan, math.nan)
    return rehearse(trial, seed, (known,) * len(trial.edges_s))


def later_half(record: Record) -> list[Ending]:
    """Return the calls that ended in the second half."""
    return [e for e in record.endings if e.at_s >= record.ended_s / 2]


def refused_later(record: Record) -> float:
    """Return the share of the calls sent in the second half that were refused."""
    half = next(m for m in record.moments if m.at_s >= record.ended_s / 2)
    last = record.moments[-1]
    return (last.refused - half.refused) / (last.sent - half.sent)


def p99(cv: float) -> float:
    """Return the 99th percentile of `latency(cv)`."""
    sigma = math.sqrt(math.log(1 + cv * cv))
    return math.exp(2.326 * sigma - sigma * sigma / 2)
