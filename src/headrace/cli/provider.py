"""`headrace provider`: the simulated provider as a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from headrace.simulation.scenario import Scenario

_USAGE = 2
_MACHINE = 5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def provider(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 picks a free one.")
    ] = 0,
    latency: Annotated[
        str | None,
        typer.Option(
            help="constant:S, lognormal:MEAN[:CV] or bimodal:FAST:SLOW:SHARE."
        ),
    ] = None,
    error_latency: Annotated[
        str | None, typer.Option(help="Likewise for errors; default as for answers.")
    ] = None,
    cap: Annotated[int | None, typer.Option(help="Calls served at once.")] = None,
    cap_mode: Annotated[
        str | None, typer.Option(help="Beyond the cap: refuse or queue.")
    ] = None,
    rpm: Annotated[float | None, typer.Option(help="Calls per minute.")] = None,
    tpm: Annotated[float | None, typer.Option(help="Tokens per minute.")] = None,
    rate_model: Annotated[
        str | None, typer.Option(help="token_bucket, sliding_log or fixed_minute.")
    ] = None,
    token_accounting: Annotated[
        str | None, typer.Option(help="reserved or actual.")
    ] = None,
    default_max_tokens: Annotated[
        int | None, typer.Option(help="Reserved for a call without max_tokens.")
    ] = None,
    output_tokens: Annotated[
        str | None, typer.Option(help="Length of answers, a distribution like latency.")
    ] = None,
    error_rate: Annotated[
        float | None, typer.Option(help="Share of calls answered 500.")
    ] = None,
    error: Annotated[
        list[str] | None, typer.Option(help="STATUS=SHARE, as 503=0.01; repeatable.")
    ] = None,
    drop_rate: Annotated[
        float | None, typer.Option(help="Share of connections broken.")
    ] = None,
    hang_rate: Annotated[
        float | None, typer.Option(help="Share of calls never answered.")
    ] = None,
    malformed_rate: Annotated[
        float | None, typer.Option(help="Share of answers with broken JSON.")
    ] = None,
    slow_start: Annotated[
        str | None, typer.Option(help="SECONDS:FACTOR of longer latency at the start.")
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option(help="FROM:TO[:refuse|drop|unavailable] seconds; repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A known model; repeatable; default any.")
    ] = None,
    require_key: Annotated[
        str | None,
        typer.Option(help="Environment variable with the key that calls must bear."),
    ] = None,
    headers: Annotated[
        bool | None, typer.Option(help="Send x-ratelimit headers.")
    ] = None,
    retry_after: Annotated[
        bool | None, typer.Option(help="Send Retry-After with refusals.")
    ] = None,
    any_path: Annotated[
        bool | None, typer.Option(help="Echo on unknown paths instead of 404.")
    ] = None,
    max_ids: Annotated[
        int | None, typer.Option(help="Different ids and bodies counted.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same decisions.")] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Scenario file (YAML); flags go before it.")
    ] = None,
) -> None:
    """Serve a simulated provider: OpenAI's API with the faults you ask for.

    Prints `ready PORT` once it answers; /_stats shows what it counted.
    """
    given = dict(locals())
    for name in ("host", "port", "scenario"):
        del given[name]
    settings = {name: value for name, value in given.items() if value is not None}
    wanted = _scenario(settings, scenario)
    _serve(wanted, host, port, _key(wanted.require_key, host))


def _refuse(code: int, message: str) -> NoReturn:
    typer.echo(f"headrace provider: {message}", err=True)
    raise typer.Exit(code)


def _scenario(settings: dict[str, Any], path: Path | None) -> Scenario:
    from headrace.errors import ConfigError
    from headrace.simulation.scenario import load_scenario, scenario_from

    try:
        base = None if path is None else load_scenario(path)
    except ConfigError as refusal:
        _refuse(_USAGE, str(refusal))
    changes: dict[str, Any] = {}
    for key, value in settings.items():
        name, changed = _setting(key, value)
        try:
            scenario_from({name: changed})
        except ConfigError as refusal:
            flag = "--" + key.replace("_", "-")
            _refuse(_USAGE, f"{flag} {_shown(value)}: {refusal}")
        changes[name] = changed
    try:
        return scenario_from(changes, base)
    except ConfigError as refusal:
        _refuse(_USAGE, str(refusal))


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _setting(key: str, value: Any) -> tuple[str, Any]:
    """Return the scenario's key and value for a flag."""
    match key:
        case "model":
            return "models", value
        case "error":
            return "error_rates", dict(_status_share(text) for text in value)
        case "outage":
            return "outages", [_outage(text) for text in value]
        case "slow_start":
            return key, _slow_start(value)
    return key, value


def _status_share(text: str) -> tuple[str, str]:
    status, separator, share = text.partition("=")
    if not separator:
        _refuse(_USAGE, f"--error {text}: expected STATUS=SHARE, as 503=0.01")
    return status, share


def _outage(text: str) -> dict[str, str]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        _refuse(_USAGE, f"--outage {text}: expected FROM:TO[:refuse|drop|unavailable]")
    return dict(zip(("from_s", "to_s", "kind"), parts, strict=False))


def _slow_start(text: str) -> dict[str, str]:
    for_s, separator, factor = text.partition(":")
    if not separator:
        _refuse(_USAGE, f"--slow-start {text}: expected SECONDS:FACTOR, as 30:5")
    return {"for_s": for_s, "factor": factor}


def _key(name: str | None, host: str) -> str | None:
    """Return the key that callers must bear."""
    import os

    if name is None:
        if host not in _LOOPBACK:
            allowed = ", ".join(_LOOPBACK)
            _refuse(
                _USAGE,
                f"--host {host}: without --require-key only {allowed} are allowed",
            )
        return None
    key = os.environ.get(name)
    if not key:
        _refuse(_USAGE, f"--require-key {name}: this environment variable is not set")
    return key


def _serve(wanted: Scenario, host: str, port: int, key: str | None) -> None:
    import asyncio
    import signal

    import uvloop

    from headrace.clock import SystemClock
    from headrace.simulation.server import serving

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with serving(
            wanted, SystemClock(), host=host, port=port, key=key
        ) as server:
            typer.echo(f"ready {server.port}")
            await stop.wait()

    try:
        uvloop.run(main())
    except OSError as refusal:
        _refuse(_MACHINE, f"cannot listen on {host} port {port}: {refusal.strerror}")
