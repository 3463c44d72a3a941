"""`headrace simulate`: whole runs on virtual time, held against what is expected."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.simulation.report import Report
    from headrace.simulation.trial import Range, Trial

_MOST_SEEDS = 100


def simulate(
    scenario: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...", help="Names of shipped scenarios, or YAML files."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All shipped scenarios.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show their names, and run nothing.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Draw the first seed's run: a name ending in .png or .svg, or a folder "
            "for one SVG of each scenario.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_SEEDS,
            metavar="N",
            help="Runs with different chance; the medians count. Default: as the "
            "scenario says.",
        ),
    ] = None,
    in_flight: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAME",
            help="Another limit: a number or auto, aimd, throughput, joined by +.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Run scenarios through the real gate on virtual time; show what came of them.

    Exit codes: 0 if all is as the scenarios expect, 1 if something is not, 2 for a bad
    scenario or flag.
    """
    from headrace.cli.exits import Exit, exiting

    with exiting("simulate"):
        if listed:
            _show_list()
            return
        trials = _trials(scenario or [], everything=everything)
        if in_flight is not None:
            trials = [_limited(trial, in_flight) for trial in trials]
        pictures = _pictures(plot, trials)
        all_ok = True
        for trial, picture in zip(trials, pictures, strict=True):
            all_ok &= _run(trial, seeds, picture, as_json=json)
        raise typer.Exit(Exit.SUCCEEDED if all_ok else Exit.SOME_FAILED)


def _show_list() -> None:
    from headrace.simulation.trial_file import load_shipped, shipped

    names = shipped()
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{name:<{width}}  {load_shipped(name).about}")


def _trials(names: list[str], *, everything: bool) -> list[Trial]:
    """Return the scenarios that are named.

    Raises:
        ConfigError: none, or one that there is not.
    """
    from headrace.errors import ConfigError
    from headrace.simulation.trial_file import load_shipped, load_trial, shipped

    if everything:
        names = [*shipped(), *names]
    if not names:
        raise ConfigError(
            "name a scenario, or --all; --list shows those that there are"
        )
    return [
        load_trial(Path(name))
        if name.endswith((".yaml", ".yml")) or "/" in name
        else load_shipped(name)
        for name in names
    ]


def _limited(trial: Trial, text: str) -> Trial:
    from headrace.errors import ConfigError
    from headrace.model import Limits

    try:
        limit: int | str = int(text) if text.lstrip("-").isdecimal() else text
        Limits(limit)
    except ValueError as error:
        raise ConfigError(f"--in-flight {text}: {error}") from error
    return trial.with_in_flight(limit)


def _pictures(plot: Path | None, trials: list[Trial]) -> list[Path | None]:
    """Return where the picture of each scenario goes.

    Raises:
        ConfigError: several for one file, no folder, or nothing to draw with.
    """
    if plot is None:
        return [None] * len(trials)
    from headrace.errors import ConfigError
    from headrace.simulation.picture import check_drawable

    if plot.is_dir():
        paths = [plot / f"{trial.name}.svg" for trial in trials]
    elif len(trials) > 1:
        raise ConfigError(
            f"--plot {plot}: one file for {len(trials)} scenarios; name a folder"
        )
    else:
        paths = [plot]
    for path in paths:
        check_drawable(path)
        if not path.parent.is_dir():
            raise ConfigError(f"--plot {plot}: there is no folder {path.parent}")
    return list(paths)


def _run(
    trial: Trial, seeds: int | None, picture: Path | None, *, as_json: bool
) -> bool:
    """Run one scenario, show and draw it; return whether all is as expected."""
    from headrace.simulation.report import report_on

    report = report_on(trial, seeds)
    if as_json:
        _show_json(report)
    else:
        _show_table(report)
    if picture is not None:
        _draw(report, picture)
    return report.is_ok


def _draw(report: Report, path: Path) -> None:
    from headrace.errors import OutputError
    from headrace.simulation.picture import draw

    try:
        draw(report.rehearsals[0], path)
    except OSError as error:
        raise OutputError(f"--plot {path}: {error.strerror}") from error


def _show_table(report: Report) -> None:
    trial = report.trial
    runs = len(report.rehearsals)
    typer.echo(f"{trial.name}: {trial.about}")
    typer.echo(
        f"in flight {trial.limits.in_flight}, "
        f"{'1 seed' if runs == 1 else f'median of {runs} seeds'}"
    )
    rows = [("measure", "value", "expected", "")]
    for finding in report.findings:
        expected = finding.expected
        rows.append(
            (
                finding.measure,
                _shown(finding.measure, finding.value),
                "" if expected is None else _range(finding.measure, expected),
                "" if expected is None else ("ok" if finding.is_ok else "NOT OK"),
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    for name, value, expected_text, verdict in rows:
        line = f"  {name:<{widths[0]}}  {value:>{widths[1]}}"
        line += f"  {expected_text:<{widths[2]}}  {verdict}"
        typer.echo(line.rstrip())
    typer.echo("")


def _shown(measure: str, value: float) -> str:
    """Return a measure as people read it."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never" if measure.endswith("t95") else "any"
    if measure.endswith(("utilisation", "busy", "_share", "_used")):
        return f"{100 * value:.4g} %"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _range(measure: str, expected: Range) -> str:
    low, high = _shown(measure, expected.min), _shown(measure, expected.max)
    if math.isinf(expected.min):
        return f"<= {high}"
    return f">= {low}" if math.isinf(expected.max) else f"{low} to {high}"


def _show_json(report: Report) -> None:
    """Print one line; what is no number is null."""
    import msgspec

    found: dict[str, Any] = {
        "scenario": report.trial.name,
        "in_flight": report.trial.limits.in_flight,
        "seeds": len(report.rehearsals),
        "ok": report.is_ok,
        "measures": [
            {
                "measure": finding.measure,
                "value": finding.value,
                "min": None if finding.expected is None else finding.expected.min,
                "max": None if finding.expected is None else finding.expected.max,
                "ok": finding.is_ok,
            }
            for finding in report.findings
        ],
    }
    typer.echo(msgspec.json.encode(found).decode())
