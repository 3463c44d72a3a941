"""`headrace keys`: who may use a service."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

if TYPE_CHECKING:
    from headrace.cli.exits import Exit

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list, change and revoke the keys of `headrace serve`.",
)

_WINDOWS = ("total", "day", "week", "month")
_WINDOW_HELP = "When the budget begins anew, in UTC (total: never)."
_Store = Annotated[
    str | None,
    Option("--store", metavar="PATH|URL", help="Where jobs are kept (headrace.db)."),
]
_Json = Annotated[bool, Option("--json", help="JSON, for programs.")]


@keys.command()
def add(
    tenant: Annotated[
        str,
        Option("--tenant", metavar="NAME", help="Whose it is; sees only its own."),
    ] = "default",
    scope: Annotated[
        list[str] | None,
        Option(
            "--scope",
            metavar="submit|read|admin",
            help="What it may do; repeatable (submit and read). Who may administer may "
            "do all, and sees all tenants.",
        ),
    ] = None,
    name: Annotated[str, Option("--name", metavar="TEXT", help="For people.")] = "",
    calls: Annotated[
        float | None,
        Option(
            "--rpm",
            metavar="N",
            min=0.001,
            help="Calls and items per minute; as many requests.",
        ),
    ] = None,
    tokens: Annotated[
        float | None,
        Option(
            "--tpm",
            metavar="N",
            min=1,
            help="Tokens per minute of calls and items, as estimated.",
        ),
    ] = None,
    in_flight: Annotated[
        int | None,
        Option("--in-flight", metavar="N", min=1, help="Calls at the same moment."),
    ] = None,
    budget_usd: Annotated[
        str | None,
        Option(
            "--budget-usd",
            metavar="X",
            help="US dollars for all calls and items together; needs prices of the "
            "service.",
        ),
    ] = None,
    budget_window: Annotated[
        str | None,
        Option("--budget-window", metavar="|".join(_WINDOWS), help=_WINDOW_HELP),
    ] = None,
    expires_in: Annotated[
        str | None,
        Option(
            "--expires-in",
            metavar="TIME",
            help="After so long it is good for nothing: 90d, 12h, … (never).",
        ),
    ] = None,
    store: _Store = None,
    json: _Json = False,
) -> None:
    """Make a key and print it, this once: only a digest of it is kept.

    Once a key was made, a service on this store answers nobody without one.
    """
    from headrace.cli import apikeywork
    from headrace.terms import KeyLimits

    limits = KeyLimits(calls, tokens, in_flight)
    scopes = tuple(scope or ("submit", "read"))
    budget = apikeywork.BudgetWish(budget_usd, budget_window)
    wish = apikeywork.Wish(tenant, scopes, name, limits, expires_in, budget)
    _carry_out("add", apikeywork.add_key(store, wish, json))


@keys.command("list")
def list_(store: _Store = None, json: _Json = False) -> None:
    """List keys, newest first, those revoked as well."""
    from headrace.cli import apikeywork

    _carry_out("list", apikeywork.list_keys(store, json))


@keys.command()
def change(
    key: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `list` shows it.")],
    name: Annotated[
        str | None, Option("--name", metavar="TEXT", help="For people.")
    ] = None,
    calls: Annotated[
        str | None,
        Option("--rpm", metavar="N|none", help="Calls and items per minute."),
    ] = None,
    tokens: Annotated[
        str | None, Option("--tpm", metavar="N|none", help="Tokens per minute.")
    ] = None,
    in_flight: Annotated[
        str | None,
        Option("--in-flight", metavar="N|none", help="Calls at the same moment."),
    ] = None,
    budget_usd: Annotated[
        str | None,
        Option("--budget-usd", metavar="X|none", help="US dollars for all together."),
    ] = None,
    budget_window: Annotated[
        str | None,
        Option("--budget-window", metavar="|".join(_WINDOWS), help=_WINDOW_HELP),
    ] = None,
    store: _Store = None,
    json: _Json = False,
) -> None:
    """Change what binds a key; what is not given stays, `none` lifts a limit.

    A running service goes by it within 1 s. Jobs that wait for money go on by themselves
    once there is some.
    """
    from headrace.cli import apikeywork

    given = {
        "name": name,
        "calls_per_minute": calls,
        "tokens_per_minute": tokens,
        "in_flight": in_flight,
        "budget_usd": budget_usd,
        "budget_window": budget_window,
    }
    stated = {name: value for name, value in given.items() if value is not None}
    _carry_out("change", apikeywork.change_key(store, key, stated, json))


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `list` shows it.")],
    store: _Store = None,
    json: _Json = False,
) -> None:
    """Let a key be good for nothing more; a running service hears of it within 1 s."""
    from headrace.cli import apikeywork

    _carry_out("revoke", apikeywork.revoke_key(store, key, json))


def _carry_out(command: str, work: Coroutine[Any, Any, Exit]) -> None:
    import uvloop

    from headrace.cli.exits import exiting

    with exiting(f"keys {command}"):
        code = uvloop.run(work)
    raise typer.Exit(int(code))
