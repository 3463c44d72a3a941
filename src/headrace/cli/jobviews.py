"""Jobs as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from headrace.cli import words
from headrace.cli.intake import ROUTE
from headrace.cli.summary import (
    after_budget,
    call_rows,
    failure_rows,
    has_spent,
    time_rows,
)
from headrace.engine.keypurses import OF_KEY
from headrace.insight.sickness import Sick, sick_endpoints
from headrace.insight.tally import Tally
from headrace.jobs import JOB_ENDS, Counts, Job, JobState, Trouble
from headrace.policies.budget import NO_PRICE, dollars

_MAX_NAME = 48
_LABEL = 17


def list_lines(jobs: Iterable[Job]) -> list[str]:
    """Return jobs as a table."""
    head = ("JOB", "STATE", "DONE", "FAILED", "TOKENS", "USD", "PRIORITY")
    rows = [(*head, "CREATED (UTC)", "NAME")]
    rows += [
        (
            job.id,
            str(job.state),
            f"{words.count(job.counts.ended)}/{words.count(job.counts.total)}",
            words.count(lost(job.counts)),
            words.count(job.input_tokens + job.output_tokens),
            dollars(job.cost_usd) if job.cost_usd else "-",
            job.priority.name.lower(),
            moment(job.created_at),
            _tail(job.name or ""),
        )
        for job in jobs
    ]
    return _table(rows)


def show_lines(job: Job) -> list[str]:
    """Return what is known of a job."""
    rows = [
        ("job", job.id),
        ("name", job.name or "none"),
        ("state", _state(job)),
        ("items", _items(job.counts)),
        ("priority", job.priority.name.lower()),
        ("on failure", _policy(job)),
        ("route", job.route),
        ("created", f"{moment(job.created_at)} UTC"),
    ]
    for label, at in (
        ("started", job.started_at),
        ("ended", job.ended_at),
        ("deadline", job.deadline_at),
    ):
        if at is not None:
            rows.append((label, f"{moment(at)} UTC"))
    if job.input_tokens or job.output_tokens:
        tokens = f"{words.count(job.input_tokens)} in, "
        rows.append(("tokens", f"{tokens}{words.count(job.output_tokens)} out"))
    if job.cost_usd:
        rows.append(("cost", words.spent(job.cost_usd, None)))
    rows += [
        (key.replace("_", " "), text)
        for key, text in sorted(job.metadata.items())
        if text
    ]
    return [f"{label:<{_LABEL}}{text}" for label, text in rows]


def why_lines(job: Job, tally: Tally, troubles: Sequence[Trouble]) -> list[str]:
    """Return where the time of a job went and why items failed."""
    rows = [
        f"{'job':<{_LABEL}}{job.id}, {_state(job)}",
        f"{'items':<{_LABEL}}{_items(job.counts)}",
    ]
    if job.cost_usd:
        rows.append(f"{'cost':<{_LABEL}}{words.spent(job.cost_usd, None)}")
    if not tally.total:
        return [*rows, f"{'why':<{_LABEL}}{_idle(job)}", *_sick_rows(tally, troubles)]
    if job.state is JobState.PAUSED:
        rows.append(f"{'why':<{_LABEL}}{_paused(job)}")
    rows += failure_rows(tally)
    rows += call_rows(tally)
    rows += time_rows(tally)
    rows.append(f"{'held by':<{_LABEL}}{tally.attribution.bound()}")
    for place, (name, count) in enumerate(sorted(tally.endpoints.items())):
        label = "" if place else "endpoints"
        rows.append(f"{label:<{_LABEL}}{name}  {words.plural(count, 'item')}")
    return rows + _sick_rows(tally, troubles)


def _sick_rows(tally: Tally, troubles: Sequence[Trouble]) -> list[str]:
    """Return a line for each endpoint that was sick, and why it is called so."""
    return [
        f"{'' if place else 'sick':<{_LABEL}}{sick.endpoint}  {_symptom(sick)}"
        for place, sick in enumerate(sick_endpoints(tally.answers, troubles))
    ]


def _symptom(sick: Sick) -> str:
    if sick.kind == "slow":
        took = words.duration(sick.mean_s)
        return f"slow: {took} a call, {sick.times:.1f} times the fastest"
    tries = f"{words.count(sick.failed)} of {words.count(sick.failed)} tries"
    example = f"{sick.code}: {words.one_line(sick.example, 120)}"
    if sick.kind == "dead":
        return f"answered nothing: {tries} failed, {example}"
    all_tries = words.count(sick.failed + sick.answered)
    return f"{words.count(sick.failed)} of {all_tries} tries failed, {example}"


def moment(at: float) -> str:
    """Return a time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def lost(counts: Counts) -> int:
    """Return how many items ended without success."""
    return counts.ended - counts.succeeded


def _state(job: Job) -> str:
    reason = job.pause_reason if job.state is JobState.PAUSED else job.error
    return f"{job.state} ({reason})" if reason else str(job.state)


def _items(counts: Counts) -> str:
    fields = msgspec.structs.asdict(counts)
    total = fields.pop("total")
    parts = [
        f"{words.count(number)} {noun}" for noun, number in fields.items() if number
    ]
    return f"{words.count(total)}" + (f": {', '.join(parts)}" if parts else "")


def _policy(job: Job) -> str:
    threshold = job.on_failure.threshold
    if threshold is None:
        return "keep going"
    if not threshold:
        return "the first failure ends the job"
    return f"{words.percent(threshold)} failed end the job"


def _idle(job: Job) -> str:
    if job.state in JOB_ENDS:
        return "no item has an outcome"
    if job.state is JobState.PAUSED:
        return _paused(job)
    if job.counts.running:
        return "the first calls are under way"
    return "no process is running it; run its command again"


def _paused(job: Job) -> str:
    if job.pause_reason.startswith(OF_KEY) and NO_PRICE not in job.pause_reason:
        return "it is paused; it goes on by itself once its key may spend more"
    if has_spent(job) and job.route.startswith(ROUTE):
        return f"it is paused; {after_budget(job)}"
    return f"it is paused; `headrace jobs resume {job.id}` lets it go on"


def _tail(name: str) -> str:
    return name if len(name) <= _MAX_NAME else "…" + name[1 - _MAX_NAME :]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
