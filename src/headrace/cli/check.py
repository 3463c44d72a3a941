"""`headrace check`: says what is wrong with a file, and sends nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option


def check(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="As for run; - is standard input.")
    ],
    dialect: Annotated[
        str | None,
        Option(
            "--dialect",
            metavar="NAME",
            help="openai (default), anthropic, azure, http.",
        ),
    ] = None,
    model: Annotated[
        str | None, Option("--model", metavar="M", help="For lines that name none.")
    ] = None,
    limit: Annotated[
        str | None, Option("--limit", metavar="N", help="Take only the first N lines.")
    ] = None,
    max_line_bytes: Annotated[
        str | None,
        Option("--max-line-bytes", metavar="N", help="Longest line (16 MiB)."),
    ] = None,
    json: Annotated[bool | None, Option("--json", help="JSON, for programs.")] = None,
) -> None:
    """Check every line of a file and count what it asks for; send nothing.

    Exit codes: 0 if all lines are right, else 2.
    """
    flags = {key: value for key, value in locals().items() if key != "source"}
    raise typer.Exit(_check(source, flags))


def _check(source: str, flags: dict[str, object]) -> int:
    import os
    from pathlib import Path

    import uvloop

    from headrace.cli.census import check_input
    from headrace.cli.exits import exiting
    from headrace.config import load_settings

    with exiting("check"):
        settings = load_settings(flags, os.environ, Path.cwd())
        return int(uvloop.run(check_input(source, settings)))
