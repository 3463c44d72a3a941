"""What the `headrace jobs` commands do."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace.cli import words
from headrace.cli.exits import Exit
from headrace.cli.jobfinding import each_job, find_job, found_store
from headrace.cli.jobviews import list_lines, show_lines, why_lines
from headrace.clock import SystemClock
from headrace.config import load_store
from headrace.errors import ConfigError
from headrace.insight.jobfields import job_fields, why_fields
from headrace.insight.tally import Tally
from headrace.jobs import JOB_ENDS, Job, JobState
from headrace.jsonl.output import line_of
from headrace.jsonl.rendering import output_path
from headrace.jsonl.sinks import FileSink, Sink, StreamSink
from headrace.ports import Store
from headrace.stores.opening import migrate

_PAGE = 500
_MAX_PRUNED = 1_000_000
_MAX_RESCUES = 5
_STDOUT_FD = 1
_AGE = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Asked(msgspec.Struct, frozen=True):
    """What all commands have in common."""

    store: str | None
    json: bool

    def tell(self, lines: list[str], fields: Callable[[], dict[str, object]]) -> None:
        """Print words, or the same for programs."""
        if self.json:
            print_json(fields())
        else:
            print_lines(lines)


def print_lines(lines: list[str]) -> None:
    """Print to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_json(fields: dict[str, object]) -> None:
    """Print one JSON object on a line."""
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")


async def list_jobs(asked: Asked, most: int) -> Exit:
    """Print the newest jobs."""
    async with found_store(asked.store) as store:
        jobs = [job async for job in each_job(store, most)]
    if asked.json:
        for job in jobs:
            print_json(job_fields(job))
    elif jobs:
        print_lines(list_lines(jobs))
    else:
        print_lines(["no jobs yet"])
    return Exit.SUCCEEDED


async def show_job(asked: Asked, ref: str) -> Exit:
    """Print what is known of a job."""
    async with found_store(asked.store) as store:
        job = await find_job(store, ref)
    asked.tell(show_lines(job), lambda: job_fields(job))
    return Exit.SUCCEEDED


async def explain_job(asked: Asked, ref: str) -> Exit:
    """Print where the time of a job went, and why items failed."""
    async with found_store(asked.store) as store:
        job = await find_job(store, ref)
        tally = Tally()
        number = 0
        while page := await store.outcomes(job.number, number, _PAGE):
            for outcome in page:
                tally.add(outcome)
            number = page[-1].number
        troubles = await store.troubles(job.number)
    asked.tell(
        why_lines(job, tally, troubles),
        lambda: {**job_fields(job), **why_fields(tally, troubles)},
    )
    return Exit.SUCCEEDED


async def cancel_job(asked: Asked, ref: str) -> Exit:
    """Cancel a job; a live run of another process hears of it within a second."""
    async with found_store(asked.store) as store:
        job = await store_cancel(store, await find_job(store, ref))
    if job.state is JobState.CANCELLING:
        left = words.plural(job.counts.running, "item")
        text = f"{job.id} is being cancelled: the process that runs it ends {left}"
    else:
        text = f"{job.id} is {job.state}; what it has answered stays"
    asked.tell([text], lambda: job_fields(job))
    return Exit.SUCCEEDED


async def store_cancel(store: Store, job: Job) -> Job:
    """Cancel, and carry it as far as it goes without the process that runs it."""
    job = await store.cancel(job.number)
    await store.rescue(_MAX_RESCUES)
    while await store.sweep():
        pass
    found = await store.job(job.number) or job
    if found.state is JobState.FINALIZING:
        return await store.conclude(found.number)
    return found


async def pause_job(asked: Asked, ref: str) -> Exit:
    """Start no more of a job's items."""
    async with found_store(asked.store) as store:
        job = await store.pause((await find_job(store, ref)).number, "operator")
    text = f"{job.id} is paused; `headrace jobs resume {job.id}` lets it go on"
    asked.tell([text], lambda: job_fields(job))
    return Exit.SUCCEEDED


async def resume_job(asked: Asked, ref: str) -> Exit:
    """Let a paused job go on."""
    async with found_store(asked.store) as store:
        job = await store.resume((await find_job(store, ref)).number)
    text = f"{job.id} may go on; if no process runs it, run its command again"
    asked.tell([text], lambda: job_fields(job))
    return Exit.SUCCEEDED


async def retry_job(asked: Asked, ref: str) -> Exit:
    """Queue all items again that ended without success."""
    async with found_store(asked.store) as store:
        job = await find_job(store, ref)
        queued = await store.retry(job.number)
    text = f"{job.id}: nothing to try again, all items succeeded"
    if queued:
        noun = words.plural(queued, "item")
        text = f"{noun} of {job.id} queued again; run its command again to send them"
    asked.tell([text], lambda: {"job_id": job.id, "queued": queued})
    return Exit.SUCCEEDED


async def write_results(asked: Asked, ref: str, output: str | None) -> Exit:
    """Write the outcomes of a job as lines, those that failed as well."""
    to_file = output not in (None, "-")
    sink: Sink = StreamSink(_STDOUT_FD)
    if to_file:
        sink = FileSink(output_path(str(output)), keep_empty=True)
    try:
        async with found_store(asked.store) as store:
            written = await _write_all(store, await find_job(store, ref), sink)
    finally:
        sink.close()
    if to_file:
        text = f"{words.plural(written, 'line')} written to {output}"
        asked.tell([text], lambda: {"out": output, "lines": written})
    return Exit.SUCCEEDED


async def _write_all(store: Store, job: Job, sink: Sink) -> int:
    sink.begin()
    number = written = 0
    while page := await store.outcomes(job.number, number, _PAGE):
        sink.append(b"".join(line_of(job.id, outcome) for outcome in page))
        number = page[-1].number
        written += len(page)
    sink.settle()
    return written


async def prune_jobs(asked: Asked, older_than: str, *, sure: bool) -> Exit:
    """Forget jobs that ended long ago, with all that belongs to them."""
    until = SystemClock().utc() - age_s(older_than)
    async with found_store(asked.store) as store:
        old = [
            job
            async for job in each_job(store, _MAX_PRUNED)
            if job.state in JOB_ENDS and (job.ended_at or job.created_at) < until
        ]
        if old and not (sure or _confirmed(len(old), older_than)):
            raise ConfigError(
                f"{words.plural(len(old), 'job')} ended more than {older_than} ago: "
                "add --yes to forget them with their results"
            )
        for job in old:
            await store.remove(job.number)
    text = f"forgot {words.plural(len(old), 'job')}"
    asked.tell([text], lambda: {"removed": [job.id for job in old]})
    return Exit.SUCCEEDED


def age_s(text: str) -> float:
    """Read an age such as `30d`.

    Raises:
        ConfigError: it is none.
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--older-than: given {text!a}, allowed a number with s, m, h, d or w, "
            "such as 30d"
        )
    return float(found[1]) * _UNITS_S[found[2]]


def _confirmed(count: int, older_than: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(
        f"forget {words.plural(count, 'job')} that ended more than {older_than} ago, "
        "with their results? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def migrate_store(asked: Asked) -> Exit:
    """Bring the tables of a store to this version."""
    address, _ = load_store(asked.store, os.environ, Path.cwd())
    await migrate(address, SystemClock())
    shown = words.address(address)
    asked.tell([f"{shown} is up to date"], lambda: {"store": shown})
    return Exit.SUCCEEDED
