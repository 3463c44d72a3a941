"""`headrace cache`: what is kept of answers, and how to forget it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

if TYPE_CHECKING:
    from headrace.cli.exits import Exit

cache = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show or forget the answers that runs with --cache have kept.",
)

_Store = Annotated[
    str | None,
    Option("--store", metavar="PATH|URL", help="Where jobs are kept (headrace.db)."),
]
_CacheStore = Annotated[
    str | None,
    Option(
        "--cache-store",
        metavar="URL",
        help="A redis:// address, if answers are not kept beside the jobs.",
    ),
]
_Json = Annotated[bool, Option("--json", help="JSON, for programs.")]


@cache.command()
def show(
    store: _Store = None, cache_store: _CacheStore = None, json: _Json = False
) -> None:
    """Show how many answers are kept, and how often they were given again."""
    from headrace.cli import cachework

    _carry_out("show", cachework.show_cache(cachework.Place(store, cache_store), json))


@cache.command()
def clear(
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    store: _Store = None,
    cache_store: _CacheStore = None,
    json: _Json = False,
) -> None:
    """Forget all answers that are kept; jobs and their results stay."""
    from headrace.cli import cachework

    place = cachework.Place(store, cache_store)
    _carry_out("clear", cachework.clear_cache(place, json, sure=yes))


def _carry_out(command: str, work: Coroutine[Any, Any, Exit]) -> None:
    import uvloop

    from headrace.cli.exits import exiting

    with exiting(f"cache {command}"):
        code = uvloop.run(work)
    raise typer.Exit(int(code))
