"""`headrace run`: sends every line of a file, as fast as the limits allow."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

_CALLS = "What is called"
_LIMITS = "Limits"
_FAULTS = "Faults and time"
_STATE = "Input and state"


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="JSON Lines: OpenAI batch lines, or {prompt} or {messages} with --model; "
            "may be .gz; - is standard input.",
        ),
    ],
    output: Annotated[
        str | None,
        Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Answers, one line each; failures go to OUT.errors.jsonl. "
            "Without it, or with -, answers go to standard output.",
        ),
    ] = None,
    base_url: Annotated[
        list[str] | None,
        Option(
            "--base-url",
            metavar="URL",
            help="Where calls go, with or without /v1; repeatable.",
        ),
    ] = None,
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
    api_key_env: Annotated[
        str | None,
        Option(
            "--api-key-env",
            metavar="NAME",
            help="Variable that holds the key (else HEADRACE_API_KEY, the file named by "
            "HEADRACE_API_KEY_FILE, OPENAI_API_KEY).",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        Option("--header", metavar="'K: V'", help="Sent with each call; no keys."),
    ] = None,
    rpm: Annotated[
        str | None,
        Option("--rpm", metavar="N", help="Calls per minute, of each address."),
    ] = None,
    tpm: Annotated[
        str | None,
        Option("--tpm", metavar="N", help="Tokens per minute, of each address."),
    ] = None,
    in_flight: Annotated[
        str | None,
        Option(
            "--in-flight",
            metavar="N|auto|…",
            help="Calls at once, of each address: a number, or who finds it: auto "
            "(default), aimd, cpu, throughput, or several joined by +; the lowest holds.",
        ),
    ] = None,
    max_in_flight: Annotated[
        str | None,
        Option(
            "--max-in-flight", metavar="N", help="Calls at once are never more (512)."
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        Option(
            "--strategy",
            metavar="NAME",
            help="Which address is called: headroom (default), least_connections, "
            "round_robin, weighted_round_robin, random, health_aware, p2c_ewma, "
            "priority, sticky.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        Option("--timeout", metavar="S", help="Seconds for one attempt (600)."),
    ] = None,
    deadline: Annotated[
        str | None,
        Option(
            "--deadline",
            metavar="S",
            help="Seconds from now; what has not ended expires.",
        ),
    ] = None,
    max_attempts: Annotated[
        str | None,
        Option("--max-attempts", metavar="N", help="Attempts for each line (5)."),
    ] = None,
    patience: Annotated[
        str | None,
        Option(
            "--patience",
            metavar="S",
            help="Seconds a silent upstream is waited for (900).",
        ),
    ] = None,
    on_failure: Annotated[
        str | None,
        Option(
            "--on-failure",
            metavar="keep|all|SHARE",
            help="keep going (default), stop at the first (all), or at a SHARE as 0.1.",
        ),
    ] = None,
    priority: Annotated[
        str | None,
        Option("--priority", metavar="P", help="low, normal (default), high, urgent."),
    ] = None,
    fallback: Annotated[
        list[str] | None,
        Option(
            "--fallback",
            metavar="MODEL=OTHER[:CODE,…]",
            help="The model to ask where MODEL has failed for good; repeatable.",
        ),
    ] = None,
    hedge: Annotated[
        bool | None,
        Option(
            "--hedge",
            help="Make slow calls a second time at another address; the first answer "
            "counts.",
        ),
    ] = None,
    budget_usd: Annotated[
        str | None,
        Option(
            "--budget-usd",
            metavar="X",
            help="US dollars to spend; then the job pauses. Needs --price.",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        Option(
            "--price",
            metavar="[MODEL=]IN/OUT",
            help="US dollars for a million tokens in and out; repeatable.",
        ),
    ] = None,
    cache: Annotated[
        bool | None,
        Option("--cache", help="Answer equal calls once; keep answers for other runs."),
    ] = None,
    cache_ttl: Annotated[
        str | None,
        Option(
            "--cache-ttl", metavar="S", help="Seconds an answer is good for (no end)."
        ),
    ] = None,
    cache_store: Annotated[
        str | None,
        Option(
            "--cache-store",
            metavar="WHERE",
            help="memory or redis://…; by default the store of the jobs.",
        ),
    ] = None,
    limit: Annotated[
        str | None, Option("--limit", metavar="N", help="Take only the first N lines.")
    ] = None,
    skip_bad_lines: Annotated[
        bool | None,
        Option(
            "--skip-bad-lines", help="Leave bad lines out; without it none is sent."
        ),
    ] = None,
    max_line_bytes: Annotated[
        str | None,
        Option("--max-line-bytes", metavar="N", help="Longest line (16 MiB)."),
    ] = None,
    store: Annotated[
        str | None,
        Option(
            "--store", metavar="PATH|URL", help="Where jobs are kept (headrace.db)."
        ),
    ] = None,
    name: Annotated[
        str | None,
        Option(
            "--name",
            metavar="NAME",
            help="Names the run; by default the path of OUT does.",
        ),
    ] = None,
    restart: Annotated[
        bool, Option("--restart", help="Forget the former run of this name.")
    ] = False,
    json: Annotated[
        bool | None,
        Option(
            "--json",
            help="One JSON object per event, on standard output (on standard error if "
            "answers go to standard output).",
        ),
    ] = None,
) -> None:
    """Send every line of IN, as fast as the limits allow, and lose none.

    The same command again goes on where it stopped. Settings may also stand in
    HEADRACE_… variables and in headrace.toml, [run].

    Exit codes: 0 all succeeded, 1 some did not, 2 usage, input or a missing key,
    3 interrupted, 4 upstream, 5 this machine. After 3, 4 and 5 the same command goes on.
    """
    flags = {key: value for key, value in locals().items() if key not in _NOT_SETTINGS}
    raise typer.Exit(_run(source, output, name, restart, flags))


_NOT_SETTINGS = ("source", "output", "name", "restart")


def _run(
    source: str,
    output: str | None,
    name: str | None,
    restart: bool,
    flags: dict[str, object],
) -> int:
    import os
    from pathlib import Path

    from headrace.cli.exits import exiting
    from headrace.config import load_settings

    with exiting("run"):
        load_settings(flags, os.environ, Path.cwd())
        import uvloop  # what follows takes long to import: a wrong flag is told before

        from headrace.cli.running import Running
        from headrace.cli.runplan import RunPlan, plan_run
        from headrace.clock import SystemClock

        def planned() -> RunPlan:
            return plan_run(
                source,
                output,
                name,
                restart=restart,
                settings=load_settings(flags, os.environ, Path.cwd()),
                environ=os.environ,
            )

        running = Running(planned(), SystemClock(), planned)
        return int(uvloop.run(running.run()))
