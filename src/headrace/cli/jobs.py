"""`headrace jobs` and `headrace migrate`: what is kept, and what becomes of it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

if TYPE_CHECKING:
    from headrace.cli.exits import Exit

jobs = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show jobs, and change their course. JOB is an id, a name or the path of OUT.",
)

_Ref = Annotated[
    str, typer.Argument(metavar="JOB", help="Id, name, or path of the output.")
]
_Store = Annotated[
    str | None,
    Option("--store", metavar="PATH|URL", help="Where jobs are kept (headrace.db)."),
]
_Json = Annotated[bool, Option("--json", help="JSON, for programs.")]


@jobs.command("list")
def list_(
    limit: Annotated[
        int, Option("--limit", min=1, help="How many, newest first.")
    ] = 50,
    store: _Store = None,
    json: _Json = False,
) -> None:
    """List the newest jobs."""
    from headrace.cli import jobwork

    _carry_out("list", jobwork.list_jobs(jobwork.Asked(store, json), limit))


@jobs.command()
def show(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Show what is known of a job."""
    from headrace.cli import jobwork

    _carry_out("show", jobwork.show_job(jobwork.Asked(store, json), job))


@jobs.command()
def why(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Tell where a job's time went, what held it back, and why items failed."""
    from headrace.cli import jobwork

    _carry_out("why", jobwork.explain_job(jobwork.Asked(store, json), job))


@jobs.command()
def cancel(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Cancel a job: what waits never starts, what is in flight is ended."""
    from headrace.cli import jobwork

    _carry_out("cancel", jobwork.cancel_job(jobwork.Asked(store, json), job))


@jobs.command()
def pause(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Pause a job: what is in flight ends, nothing more starts."""
    from headrace.cli import jobwork

    _carry_out("pause", jobwork.pause_job(jobwork.Asked(store, json), job))


@jobs.command()
def resume(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Let a paused job go on."""
    from headrace.cli import jobwork

    _carry_out("resume", jobwork.resume_job(jobwork.Asked(store, json), job))


@jobs.command()
def retry(job: _Ref, store: _Store = None, json: _Json = False) -> None:
    """Queue all items again that ended without success; then run the job again."""
    from headrace.cli import jobwork

    _carry_out("retry", jobwork.retry_job(jobwork.Asked(store, json), job))


@jobs.command()
def results(
    job: _Ref,
    output: Annotated[
        str | None,
        Option("--output", "-o", help="A file; by default standard output."),
    ] = None,
    store: _Store = None,
    json: _Json = False,
) -> None:
    """Write a job's outcomes as OpenAI output lines, failures as well."""
    from headrace.cli import jobwork

    _carry_out(
        "results", jobwork.write_results(jobwork.Asked(store, json), job, output)
    )


@jobs.command()
def prune(
    older_than: Annotated[
        str, Option("--older-than", metavar="AGE", help="Ended so long ago, as 30d.")
    ],
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    store: _Store = None,
    json: _Json = False,
) -> None:
    """Forget jobs that ended long ago, with their results."""
    from headrace.cli import jobwork

    asked = jobwork.Asked(store, json)
    _carry_out("prune", jobwork.prune_jobs(asked, older_than, sure=yes))


def migrate(store: _Store = None, json: _Json = False) -> None:
    """Bring the tables of a store to this version; for PostgreSQL, before first use."""
    from headrace.cli import jobwork

    _carry_out("", jobwork.migrate_store(jobwork.Asked(store, json)), "migrate")


def _carry_out(
    command: str, work: Coroutine[Any, Any, Exit], group: str = "jobs"
) -> None:
    import uvloop

    from headrace.cli.exits import exiting

    with exiting(f"{group} {command}".strip()):
        code = uvloop.run(work)
    raise typer.Exit(int(code))
