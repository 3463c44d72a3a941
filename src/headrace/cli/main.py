"""The command line: every command, and what becomes of our own faults."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from headrace.cli.apikeys import keys
from headrace.cli.cache import cache
from headrace.cli.check import check
from headrace.cli.exits import Exit
from headrace.cli.jobs import jobs, migrate
from headrace.cli.provider import provider
from headrace.cli.run import run
from headrace.cli.serve import serve
from headrace.cli.simulate import simulate

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command()(check)
app.add_typer(jobs, name="jobs")
app.add_typer(cache, name="cache")
app.command()(serve)
app.add_typer(keys, name="keys")
app.command()(migrate)
app.command()(provider)
app.command()(simulate)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


@app.callback()
def headrace(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it."),
    ] = False,
) -> None:
    """Run many slow, limited, failing calls as fast as their limits allow; lose none."""


def main() -> None:
    """Run the command line of this process."""
    try:
        app(prog_name="headrace")
    except Exception:  # noqa: BLE001  the last place: a bug must not look like an answer
        traceback.print_exc()
        sys.stderr.write("headrace: this is a fault of headrace itself\n")
        sys.exit(Exit.BUG)
