"""Draws how a simulated run went: limit, in flight, refusals, answers over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError
from headrace.simulation.recorder import Moment
from headrace.simulation.rehearsal import Rehearsal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
_SIZE_INCHES = (8.0, 7.0)
_DOTS_PER_INCH = 100
_MOST_POINTS = 160
"""A line of more points is no clearer at 800 dots, and the file is larger."""
_BARS = 80
_COLOURS = ("#0b6e99", "#d9822b", "#3f8f4f", "#8a4fbe", "#b3423a", "#6b7280")


def draw(rehearsal: Rehearsal, path: Path) -> None:
    """Write the picture of one run as PNG or SVG, as the path's ending says.

    Raises:
        ConfigError: another ending, or matplotlib is not installed.
        OSError: the file cannot be written.
    """
    check_drawable(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text, and the same run gives the same file.
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "headrace",
        "font.size": 9.0,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        _fill(figure, rehearsal)
        if path.suffix == ".svg":
            figure.savefig(path, metadata={"Date": None})
        else:
            figure.savefig(path, dpi=_DOTS_PER_INCH)


def check_drawable(path: Path) -> None:
    """Refuse what could not be drawn, before anything is run.

    Raises:
        ConfigError: another ending than PNG or SVG, or matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"picture {path}: expected a name that ends in .png or .svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "pictures need matplotlib: pip install 'headrace[plots]'"
        ) from error


def _fill(figure: Figure, rehearsal: Rehearsal) -> None:
    panels: Sequence[Axes] = figure.subplots(4, 1, sharex=True)
    trial = rehearsal.trial
    limit = trial.limits.in_flight
    figure.suptitle(
        f"{trial.name}: {trial.about}\nin flight: {limit}, seed {rehearsal.seed}",
        fontsize=10,
    )
    moments = _thinned(rehearsal.record.moments)
    _limits(panels[0], rehearsal, moments)
    _in_flight(panels[1], rehearsal, moments)
    _per_second(panels[2], rehearsal, "refused", _COLOURS[4])
    panels[2].set_ylabel("refused (calls/s)")
    _per_second(panels[3], rehearsal, "done", _COLOURS[2])
    _best_per_second(panels[3], rehearsal)
    panels[3].set_ylabel("answered (calls/s)")
    panels[3].set_xlabel("time (s)")
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.set_xlim(0, rehearsal.record.ended_s)
        panel.grid(visible=True, linewidth=0.4, alpha=0.5)
        for edge in trial.edges_s[1:]:
            panel.axvline(edge, color="#6b7280", linewidth=0.8, linestyle=":")
        panel.spines[["top", "right"]].set_visible(False)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _thinned(moments: list[Moment]) -> list[Moment]:
    """Return some moments, evenly, the first and the last among them."""
    step = -(-len(moments) // _MOST_POINTS)
    return [*moments[:-1:step], moments[-1]]


def _limits(panel: Axes, rehearsal: Rehearsal, moments: list[Moment]) -> None:
    at_s = [moment.at_s for moment in moments]
    names = list(rehearsal.trial.upstreams)
    for place, name in enumerate(names):
        values = [moment.limits[place] for moment in moments]
        label = name if len(names) > 1 else "limit"
        panel.step(at_s, values, where="post", color=_colour(place), label=label)
    edges_s = [*rehearsal.trial.edges_s, rehearsal.record.ended_s]
    panel.hlines(
        [benchmark.in_flight for benchmark in rehearsal.benchmarks],
        edges_s[:-1],
        edges_s[1:],
        colors="#444444",
        linestyles="--",
        linewidth=0.9,
        label="best fixed",
    )
    panel.set_ylabel("limit (calls)")


def _in_flight(panel: Axes, rehearsal: Rehearsal, moments: list[Moment]) -> None:
    at_s = [moment.at_s for moment in moments]
    names = list(rehearsal.trial.upstreams)
    for place, name in enumerate(names):
        values = [moment.in_flight[place] for moment in moments]
        label = name if len(names) > 1 else "in flight"
        panel.step(at_s, values, where="post", color=_colour(place), label=label)
    panel.set_ylabel("in flight (calls)")


def _per_second(panel: Axes, rehearsal: Rehearsal, what: str, colour: str) -> None:
    """Draw how fast a count of the moments grows."""
    record = rehearsal.record
    width_s = max(record.ended_s / _BARS, rehearsal.benchmarks[0].duration_s)
    edges_s, values, before = [0.0], list[float](), 0
    for moment in record.moments:
        lasted_s = moment.at_s - edges_s[-1]
        if lasted_s >= width_s:
            count: int = getattr(moment, what)
            values.append((count - before) / lasted_s)
            edges_s.append(moment.at_s)
            before = count
    if values:
        panel.stairs(values, edges_s, color=colour, fill=True, alpha=0.75)


def _best_per_second(panel: Axes, rehearsal: Rehearsal) -> None:
    edges_s = [*rehearsal.trial.edges_s, rehearsal.record.ended_s]
    panel.hlines(
        [benchmark.per_s for benchmark in rehearsal.benchmarks],
        edges_s[:-1],
        edges_s[1:],
        colors="#444444",
        linestyles="--",
        linewidth=0.9,
        label="best fixed",
    )


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
