"""What a run came to, in words and as an event."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from headrace.cli import words
from headrace.cli.cacheviews import cache_fields, cache_lines
from headrace.cli.showing import BINDINGS
from headrace.events import CacheStatistics
from headrace.insight.attribution import MEANINGS, Binding
from headrace.insight.tally import Tally
from headrace.jobs import JOB_ENDS, Counts, Job, JobState
from headrace.policies.budget import BUDGET, NO_PRICE

_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_LOST = ("failed", "cancelled", "expired", "skipped")
_MAX_CLASSES = 10
_LEAST_SHARE = 0.0005


class Summary(msgspec.Struct, frozen=True):
    """All that is told of a run afterwards."""

    job: Job
    out: Path | None
    errors: Path | None
    """None if there is no such file."""
    store: str
    bad_lines: int
    tally: Tally
    """Of the outcomes that this run recorded."""
    binding: Binding
    elapsed_s: float
    cache: CacheStatistics | None = None
    """None without a cache."""
    budget_usd: Decimal | None = None
    """None = any."""
    has_prices: bool = False

    @property
    def has_spent(self) -> bool:
        """Is the job paused for its budget?"""
        return has_spent(self.job)

    @property
    def lost(self) -> int:
        """Items that ended without success."""
        return self.job.counts.ended - self.job.counts.succeeded

    @property
    def is_over(self) -> bool:
        return self.job.state in JOB_ENDS


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary for people, line by line."""
    job, tally = summary.job, summary.tally
    is_paused = job.state is JobState.PAUSED
    state = str(job.state) if summary.is_over or is_paused else "interrupted"
    rows = [_row(state, _outcomes(job.counts))]
    if job.cost_usd or summary.has_prices:
        rows.append(_row("cost", _cost(summary)))
    if is_paused and job.pause_reason:
        rows.append(_row("because", words.one_line(job.pause_reason, 160)))
    if summary.bad_lines:
        rows.append(_row("left out", words.plural(summary.bad_lines, "bad line")))
    rows += failure_rows(tally)
    if tally.total:
        rows += _this_run(summary)
    else:
        why = "" if summary.has_spent else ": all had ended before"
        rows.append(_row("this run", f"sent nothing{why}"))
    rows += _places(summary)
    rows += _next(summary)
    return rows


def failure_rows(tally: Tally) -> list[str]:
    """Return a line for each class of failures, with an example."""
    found = tally.failures()
    rows = [
        _row(
            f"  {each.code}",
            f"{words.count(each.count)}, such as {each.example_id}: "
            f"{words.one_line(each.example, 160)}",
        )
        for each in found[:_MAX_CLASSES]
    ]
    if len(found) > _MAX_CLASSES:
        rows.append(_row("", f"and {len(found) - _MAX_CLASSES} more kinds"))
    return rows


def call_rows(tally: Tally) -> list[str]:
    """Return how many calls were made, their tokens and their latency."""
    calls = f"{words.count(tally.tries)} for {words.plural(tally.total, 'item')}"
    unspent = tally.tries - tally.attempts
    if unspent > 0:
        calls += f" ({words.count(unspent)} of them spent no attempt)"
    rows = [_row("calls", calls)]
    if tally.input_tokens or tally.output_tokens:
        rows.append(
            _row(
                "tokens",
                f"{words.count(tally.input_tokens)} in, "
                f"{words.count(tally.output_tokens)} out",
            )
        )
    if tally.hedges:
        won = f"{words.count(tally.hedges_won)} of them answered first"
        rows.append(_row("hedges", f"{words.count(tally.hedges)}, {won}"))
    if tally.calls.count:
        parts = [
            f"{name} {words.duration(tally.calls.quantile(share))}"
            for name, share in _QUANTILES
        ]
        rows.append(_row("latency", ", ".join(parts)))
    return rows


def time_rows(tally: Tally) -> list[str]:
    """Return where the time of the items went, once they had left the queue."""
    items = max(1, tally.attribution.items)
    shares = tally.attribution.shares()
    queued, after = shares[0], shares[1:]
    after_s = sum(share.seconds for share in after)
    if after_s <= 0:
        return []
    texts = [
        f"{words.percent(share.seconds / after_s):>6}  {MEANINGS[share.part]}"
        f" (mean {words.duration(share.seconds / items)})"
        for share in after
        if share.seconds > _LEAST_SHARE * after_s
    ]
    texts.append(
        f"        before that, {MEANINGS[queued.part]}"
        f" (mean {words.duration(queued.seconds / items)})"
    )
    return [
        _row("" if place else "where time went", text)
        for place, text in enumerate(texts)
    ]


def binding_row(binding: Binding) -> list[str]:
    """Return which limits held the run back, and for what share of it."""
    found = [
        f"{BINDINGS.get(each.part, each.part)} {words.percent(each.share)} of the time"
        for each in binding.shares()[:3]
    ]
    return [_row("held by", ", ".join(found))] if found else []


def summary_event(summary: Summary) -> dict[str, object]:
    """Return the summary for programs."""
    job, tally = summary.job, summary.tally
    shares = tally.attribution.shares()
    return {
        "job_id": job.id,
        "name": job.name,
        "state": str(job.state),
        "counts": msgspec.to_builtins(job.counts),
        "bad_lines": summary.bad_lines,
        "out": str(summary.out) if summary.out else None,
        "errors": str(summary.errors) if summary.errors else None,
        "store": words.address(summary.store),
        "cost_usd": float(job.cost_usd),
        "budget_usd": None if summary.budget_usd is None else float(summary.budget_usd),
        "elapsed_s": round(summary.elapsed_s, 3),
        "cache": cache_fields(summary.cache) if summary.cache else None,
        "this_run": {
            "outcomes": {str(k): v for k, v in tally.states.items() if v},
            "failures": msgspec.to_builtins(tally.failures()),
            "attempts": tally.attempts,
            "tries": tally.tries,
            "input_tokens": tally.input_tokens,
            "output_tokens": tally.output_tokens,
            "hedges": tally.hedges,
            "hedges_won": tally.hedges_won,
            "latency_s": {n: round(tally.calls.quantile(q), 4) for n, q in _QUANTILES},
            "time_s": {share.part: round(share.seconds, 3) for share in shares},
            "time_shares": {share.part: round(share.share, 4) for share in shares},
            "held_by": {s.part: round(s.share, 4) for s in summary.binding.shares()},
        },
    }


def _this_run(summary: Summary) -> list[str]:
    tally, elapsed_s = summary.tally, summary.elapsed_s
    pace = tally.total / elapsed_s if elapsed_s > 0 else 0.0
    took = (
        f"{words.plural(tally.total, 'outcome')} in {words.duration(elapsed_s)}, "
        f"{words.rate(pace)} a second"
    )
    return [
        _row("this run", took),
        *_cached(summary.cache),
        *call_rows(tally),
        *time_rows(tally),
        *binding_row(summary.binding),
    ]


def _cached(cache: CacheStatistics | None) -> list[str]:
    told = cache_lines(cache) if cache is not None else []
    return [_row("" if place else "cache", text) for place, text in enumerate(told)]


def _places(summary: Summary) -> list[str]:
    out = str(summary.out) if summary.out is not None else "standard output"
    rows = [_row("results", out)]
    if summary.errors is not None:
        rows.append(_row("errors", str(summary.errors)))
    rows.append(_row("job", f"{summary.job.id} in {words.address(summary.store)}"))
    return rows


def _cost(summary: Summary) -> str:
    text = words.spent(summary.job.cost_usd, summary.budget_usd)
    if not summary.has_prices or not (unpriced := summary.tally.unpriced):
        return text
    return f"{text}, without {words.plural(unpriced, 'item')} whose model has no price"


def after_budget(job: Job) -> str:
    """Return what lets a job go on that has spent its budget."""
    if NO_PRICE in job.pause_reason:
        return "run the same command with that price to go on"
    return "run the same command with a higher --budget-usd to go on"


def has_spent(job: Job) -> bool:
    """Is the job paused for its budget?"""
    return job.state is JobState.PAUSED and job.pause_reason.startswith(BUDGET)


def _next(summary: Summary) -> list[str]:
    job = summary.job
    if summary.has_spent:
        return [_row("next", after_budget(job))]
    if job.state is JobState.PAUSED:
        resume = f"headrace jobs resume {job.id} --store {words.address(summary.store)}"
        return [_row("next", f"{resume}, then the same command again, goes on")]
    if not summary.is_over:
        return [_row("next", "run the same command again to go on")]
    if not summary.lost:
        return []
    retry = f"headrace jobs retry {job.id} --store {words.address(summary.store)}"
    return [
        _row(
            "next",
            f"{retry}, then the same command again, tries the "
            f"{words.count(summary.lost)} again",
        )
    ]


def _outcomes(counts: Counts) -> str:
    parts = [
        f"{words.count(counts.succeeded)} of {words.plural(counts.total, 'item')} "
        "succeeded"
    ]
    ends = {noun: getattr(counts, noun) for noun in _LOST}
    parts += [f"{words.count(n)} {noun}" for noun, n in ends.items() if n]
    if left := counts.total - counts.ended:
        parts.append(f"{words.count(left)} still to do")
    return ", ".join(parts)


def _row(label: str, text: str) -> str:
    return f"{label:<17}{text}"
