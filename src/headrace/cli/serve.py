"""`headrace serve`: OpenAI's API in front of any endpoint."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option


def serve(
    host: Annotated[
        str | None,
        Option("--host", metavar="H", help="Address to listen on (127.0.0.1)."),
    ] = None,
    port: Annotated[
        str | None,
        Option(
            "--port", metavar="N", help="Port to listen on (8000); 0 takes a free one."
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
        Option("--dialect", metavar="NAME", help="openai (default) or azure."),
    ] = None,
    api_key_env: Annotated[
        str | None,
        Option(
            "--api-key-env",
            metavar="NAME",
            help="Variable that holds the key of the addresses (else HEADRACE_API_KEY, "
            "the file named by HEADRACE_SERVE_API_KEY_FILE, OPENAI_API_KEY).",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        Option("--header", metavar="'K: V'", help="Sent with each call; no keys."),
    ] = None,
    store: Annotated[
        str | None,
        Option(
            "--store", metavar="PATH|URL", help="Where jobs are kept (headrace.db)."
        ),
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
    rpm: Annotated[
        str | None,
        Option("--rpm", metavar="N", help="Calls per minute, of each address."),
    ] = None,
    tpm: Annotated[
        str | None,
        Option("--tpm", metavar="N", help="Tokens per minute, of each address."),
    ] = None,
    max_queued: Annotated[
        str | None,
        Option(
            "--max-queued",
            metavar="N",
            help="Calls of clients that may wait (1000); more are answered 429.",
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
            help="Seconds for a client's call, waits and attempts included, unless the "
            "client says how long it waits (600).",
        ),
    ] = None,
    max_attempts: Annotated[
        str | None,
        Option("--max-attempts", metavar="N", help="Attempts for each call (5)."),
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
    price: Annotated[
        list[str] | None,
        Option(
            "--price",
            metavar="[MODEL=]IN/OUT",
            help="US dollars for a million tokens in and out; repeatable.",
        ),
    ] = None,
    cache: Annotated[
        bool | None, Option("--cache", help="Answer equal calls once; keep answers.")
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
    grace: Annotated[
        str | None,
        Option(
            "--grace",
            metavar="S",
            help="Seconds that what is under way has to end when asked to stop (30).",
        ),
    ] = None,
    keep_days: Annotated[
        str | None,
        Option(
            "--keep-days",
            metavar="DAYS",
            help="Days that jobs and batches are kept after their end (for ever).",
        ),
    ] = None,
    log: Annotated[
        str | None,
        Option("--log", metavar="FORM", help="text (default), or json: a line each."),
    ] = None,
) -> None:
    """Serve OpenAI's API in front of the addresses given.

    Prints `ready http://HOST:PORT` once it answers. Ctrl-C or SIGTERM stops it: it takes
    no more calls, lets those under way end for --grace seconds, and leaves the rest to
    the next start; a second time it stops at once. SIGHUP reads the keys again, and lets
    jobs go on whose key was refused. Settings may also stand in HEADRACE_SERVE_…
    variables and in headrace.toml, [serve].

    Exit codes: 0 stopped with nothing cut off, 2 usage or a missing key, 3 stopped with
    calls cut off (those of jobs go on at the next start), 5 this machine.
    """
    raise typer.Exit(_serve(dict(locals())))


def _serve(flags: dict[str, object]) -> int:
    import gc
    import os
    from pathlib import Path

    from headrace.cli.exits import exiting
    from headrace.config import load_serving

    with exiting("serve"):
        settings = load_serving(flags, os.environ, Path.cwd())
        gc.disable()  # what is imported stays; `Serving` lets it run again once ready
        import uvloop  # what follows takes long to import: a wrong flag is told before

        from headrace.cli.servework import Serving
        from headrace.clock import SystemClock

        async def main() -> int:
            return await Serving(settings, os.environ, SystemClock()).run()

        return uvloop.run(main())
