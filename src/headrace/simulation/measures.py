"""What a simulated run is judged by, as numbers. Nothing here waits."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from statistics import fmean, median

import msgspec

from headrace.simulation.recorder import Ending, Record
from headrace.simulation.trial import Trial

MEASURES = {
    "utilisation": "throughput, as a share of the best fixed limit's",
    "busy": "calls being served, as a share of the best fixed limit",
    "t95": "time to 95 % of the best fixed limit's throughput, in mean durations",
    "refused": "calls refused by the upstream",
    "refused_share": "the same as a share of the calls sent",
    "tries_per_call": "calls sent for each one that ended",
    "peak_in_flight": "most calls in flight at once",
    "succeeded": "calls answered",
    "failed": "calls that failed for good",
    "makespan_s": "seconds until the last call ended",
    "p50_s": "median duration of a call that took one attempt",
    "p99_s": "99th percentile of it",
    "p99_of_best": "99th percentile of the later half, in those of the best fixed limit",
    "rate_used": "share of the upstream's calls a minute that was used",
    "wait_p95_s": "95th percentile of the wait for a turn",
    "sent_share": "share of the calls sent that an endpoint got",
}
"""Every measure and what it says. Shares and rates are of the second half of a phase."""

_WINDOW_DURATIONS = 2.0
"""Throughput is looked at over so many mean durations; a fixed limit needs 2 to 2.5."""
_NEARLY = 0.95


class Benchmark(msgspec.Struct, frozen=True):
    """What a fixed limit makes of one phase."""

    in_flight: int
    per_s: float
    """Calls answered a second, once it has got going."""
    duration_s: float
    """Mean of a call."""
    p99_s: float
    makespan_s: float


def benchmark_of(in_flight: int, record: Record) -> Benchmark:
    """Return what a run under a fixed limit achieved."""
    durations = _durations(record.endings)
    return Benchmark(
        in_flight=in_flight,
        per_s=_per_s(_done_at(record.endings), record.ended_s / 2, record.ended_s),
        duration_s=fmean(durations) if durations else math.nan,
        p99_s=quantile(durations, 0.99),
        makespan_s=record.ended_s,
    )


def measure(
    trial: Trial, record: Record, benchmarks: Sequence[Benchmark]
) -> dict[str, float]:
    """Return every measure of a run; those of a part are named `PART.MEASURE`.

    Args:
        trial: the scenario.
        record: what was noted.
        benchmarks: of each phase.
    """
    found = _whole(trial, record, benchmarks[0])
    edges_s = (*trial.edges_s, record.ended_s)
    for number, benchmark in enumerate(benchmarks):
        span = (edges_s[number], edges_s[number + 1])
        of_phase = _phase(trial, record, benchmark, span)
        prefix = f"phase{number + 1}." if len(benchmarks) > 1 else ""
        found |= {prefix + name: value for name, value in of_phase.items()}
    for name, sent in record.sent.items():
        found[f"{name}.sent_share"] = sent / max(1, sum(record.sent.values()))
    for group in trial.workload:
        endings = [e for e in record.endings if e.group == group.name]
        found |= {f"{group.name}.{k}": v for k, v in _group(endings).items()}
    return found


def _whole(trial: Trial, record: Record, benchmark: Benchmark) -> dict[str, float]:
    durations, last = _durations(record.endings), record.moments[-1]
    later = [e for e in record.endings if e.at_s >= record.ended_s / 2]
    found = {
        "refused": float(last.refused),
        "refused_share": last.refused / max(1, last.sent),
        "tries_per_call": last.sent / max(1, len(record.endings)),
        "peak_in_flight": float(record.peak_in_flight),
        "p50_s": quantile(durations, 0.5),
        "p99_s": quantile(durations, 0.99),
        "p99_of_best": quantile(_durations(later), 0.99) / benchmark.p99_s,
    }
    rpm = sum(scenario.rpm or 0 for scenario in trial.upstreams.values())
    if rpm:
        found["rate_used"] = _let_in_per_s(record) * 60 / rpm
    return found | _group(record.endings)


def _group(endings: Sequence[Ending]) -> dict[str, float]:
    ok = sum(ending.is_ok for ending in endings)
    return {
        "succeeded": float(ok),
        "failed": float(len(endings) - ok),
        "makespan_s": max((ending.at_s for ending in endings), default=math.nan),
        "wait_p95_s": quantile([ending.waited_s for ending in endings], 0.95),
    }


def _phase(
    trial: Trial, record: Record, benchmark: Benchmark, span: tuple[float, float]
) -> dict[str, float]:
    from_s, to_s = span
    half_s = (from_s + to_s) / 2
    done_at = _done_at(record.endings)
    if trial.duration_s is None:
        utilisation = benchmark.makespan_s / max(record.ended_s, 1e-9)
    else:
        utilisation = _per_s(done_at, half_s, to_s) / max(benchmark.per_s, 1e-9)
    served = [m.served for m in record.moments if half_s <= m.at_s < to_s]
    slots = benchmark.in_flight * (len(trial.upstreams) - len(trial.best.without))
    return {
        "utilisation": utilisation,
        "busy": fmean(served) / slots if served else math.nan,
        "t95": _time_to_nearly(done_at, benchmark, span),
        "refused": float(_refused_by(record, to_s) - _refused_by(record, from_s)),
    }


def _time_to_nearly(
    done_at: list[float], benchmark: Benchmark, span: tuple[float, float]
) -> float:
    """Return after how many mean durations throughput is nearly the best one's."""
    from_s, to_s = span
    window_s = _WINDOW_DURATIONS * benchmark.duration_s
    needed = _NEARLY * benchmark.per_s * window_s
    first = bisect_left(done_at, from_s)
    last = bisect_right(done_at, to_s)
    begin = first
    for end in range(first, last):
        while done_at[begin] <= done_at[end] - window_s:
            begin += 1
        if end - begin + 1 >= needed:
            return (done_at[end] - from_s) / benchmark.duration_s
    return math.inf


def _let_in_per_s(record: Record) -> float:
    """Return the calls a second that were not refused, in the second half."""
    moments = record.moments
    half = next(m for m in moments if m.at_s >= record.ended_s / 2)
    last = moments[-1]
    let_in = (last.sent - last.refused) - (half.sent - half.refused)
    return let_in / max(last.at_s - half.at_s, 1e-9)


def _refused_by(record: Record, at_s: float) -> int:
    place = bisect_right(record.moments, at_s, key=lambda moment: moment.at_s)
    return record.moments[place - 1].refused if place else 0


def _done_at(endings: Iterable[Ending]) -> list[float]:
    return [ending.at_s for ending in endings if ending.is_ok]


def _durations(endings: Iterable[Ending]) -> list[float]:
    return [e.duration_s for e in endings if e.is_ok and e.duration_s is not None]


def _per_s(done_at: list[float], from_s: float, to_s: float) -> float:
    count = bisect_right(done_at, to_s) - bisect_right(done_at, from_s)
    return count / max(to_s - from_s, 1e-9)


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that a share `q` does not exceed; nan of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each measure over several runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}
