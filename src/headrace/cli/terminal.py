"""How a run is shown on a terminal: a bar, and what holds the run back."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headrace.cli import words
from headrace.cli.showing import BINDINGS, breaker_line
from headrace.events import (
    BreakerMoved,
    EndpointView,
    Event,
    JobMoved,
    LearntRate,
    Progress,
)
from headrace.jobs import JobState

_INTERVAL_S = 0.2
_MAX_ENDPOINTS = 8
_GAUGE_WIDTH = 8
_MAX_LEARNT = 2
"""Of an endpoint that serves many models, the fullest."""
_FULL = 0.9
"""From this share on a limit is shown as used up."""


class TerminalView:
    """Redraws a few lines at the foot of the terminal; what is said scrolls above."""

    interval_s = _INTERVAL_S

    def __init__(self, stream: TextIO, title: str) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False
        )
        self._title = title
        self._state: JobState | None = None
        self._is_live = False

    def taking_in(self, lines: int, elapsed_s: float) -> None:
        pace = words.rate(lines / elapsed_s) if elapsed_s > 0 else "0"
        text = Text.assemble(
            (self._title, "bold"),
            "  checking the input  ",
            (f"{words.count(lines)} lines", "cyan"),
            f"  {pace} lines/s  {words.duration(elapsed_s)}",
        )
        self._draw(text)

    def progress(self, progress: Progress) -> None:
        self._draw(view_of(progress, self._title, self._state))

    def happened(self, event: Event) -> None:
        if isinstance(event, BreakerMoved):
            self.say(breaker_line(event))
        elif isinstance(event, JobMoved):
            self._state = event.state

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def close(self) -> None:
        if self._is_live:
            self._is_live = False
            self._live.stop()

    def _draw(self, view: RenderableType) -> None:
        if not self._is_live:
            self._is_live = True
            self._live.start()
        self._live.update(view, refresh=True)


def view_of(progress: Progress, title: str, state: JobState | None) -> RenderableType:
    """Return the lines that show how a run stands."""
    rows: list[RenderableType] = [
        _bar(progress, title, state),
        _counts(progress),
        _endpoints(progress.endpoints),
    ]
    held = BINDINGS.get(progress.binding, progress.binding)
    style = "dim" if progress.binding == "none" else "yellow"
    elapsed = words.duration(progress.elapsed_s)
    rows.append(
        Text.assemble(
            ("held by ", "dim"), (held, style), ("  elapsed ", "dim"), elapsed
        )
    )
    return Group(*rows)


def _bar(progress: Progress, title: str, state: JobState | None) -> RenderableType:
    counts = progress.counts
    share = counts.ended / counts.total if counts.total else 0.0
    row = Table.grid(padding=(0, 1), expand=True)
    for ratio in (None, 1, None, None, None):
        row.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
    row.add_row(
        Text(title, "bold"),
        ProgressBar(
            total=max(1, counts.total), completed=counts.ended, complete_style="cyan"
        ),
        Text(f"{words.count(counts.ended)} of {words.count(counts.total)}"),
        Text(words.percent(share), "bold green"),
        Text(_end(progress, state), "cyan"),
    )
    return row


def _end(progress: Progress, state: JobState | None) -> str:
    if state in (JobState.PAUSED, JobState.CANCELLING):
        return str(state)
    if progress.left_s is None:
        return f"{words.duration(progress.elapsed_s)} so far"
    return f"ends in {words.duration(progress.left_s)}"


def _counts(progress: Progress) -> Text:
    counts = progress.counts
    lost = counts.ended - counts.succeeded
    parts = [
        (words.count(counts.succeeded), " succeeded", "green"),
        (words.count(lost), " failed", "bold red" if lost else "dim"),
        (words.count(progress.in_flight), " in flight", "bold"),
        (words.count(progress.waiting), " waiting", "default"),
        (words.count(progress.backing_off), " backing off", "default"),
        (words.rate(progress.calls_per_s), " calls/s", "bold"),
        (words.rate(progress.tokens_per_s), " tokens/s", "bold"),
    ]
    if progress.cost_usd is not None:
        parts.append((words.spent(progress.cost_usd, None), " spent", "bold"))
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, noun, style in parts:
        if text:
            text.append("  ")
        text.append(number, style)
        text.append(noun, "dim")
    return text


def _endpoints(views: tuple[EndpointView, ...]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for view in views[:_MAX_ENDPOINTS]:
        table.add_row(*_endpoint(view))
    if len(views) > _MAX_ENDPOINTS:
        table.add_row(Text(f"and {len(views) - _MAX_ENDPOINTS} more", "dim"))
    return table


def _endpoint(view: EndpointView) -> list[RenderableType]:
    cut_off = view.state != "closed"
    name = Text(view.name, "red" if cut_off else "default", no_wrap=True)
    used = view.in_flight / view.in_flight_limit if view.in_flight_limit else 0.0
    cells: list[RenderableType] = [
        name,
        _gauge("slots", used, _slots(view)),
    ]
    if view.calls_used is not None:
        cells.append(_gauge("calls/min", view.calls_used))
    if view.tokens_used is not None:
        cells.append(_gauge("tokens/min", view.tokens_used))
    fullest = sorted(view.learnt, key=_share, reverse=True)[:_MAX_LEARNT]
    cells += [_learnt(rate) for rate in fullest]
    if view.note:
        cells.append(Text(view.note, "yellow"))
    if cut_off:
        cells.append(Text(view.state.replace("_", " "), "red"))
    return cells


def _slots(view: EndpointView) -> str:
    """Return how many slots are used, and why there are so many."""
    slots = f"{view.in_flight} of {view.in_flight_limit}"
    return f"{slots} ({view.limit_reason})" if view.limit_reason else slots


def _share(rate: LearntRate) -> float:
    return rate.used


def _learnt(rate: LearntRate) -> Text:
    """Return a gauge of a limit that was learnt, with whose it is and from what."""
    noun = f"{rate.dimension.replace('_', ' ')}/min"
    figure = words.count(round(rate.per_minute))
    held = f", asked to wait {words.duration(rate.blocked_s)}" if rate.blocked_s else ""
    said = f"{words.percent(rate.used)} (learnt from {rate.source}: {figure}{held})"
    return _gauge(f"{rate.model} {noun}".strip(), rate.used, said)


def _gauge(noun: str, share: float, figure: str = "") -> Text:
    """Return a small bar with its noun and its share."""
    filled = round(min(1.0, max(0.0, share)) * _GAUGE_WIDTH)
    style = "yellow" if share >= _FULL else "green"
    return Text.assemble(
        (f"{noun} ", "dim"),
        ("━" * filled, style),
        ("━" * (_GAUGE_WIDTH - filled), "grey23"),
        f" {figure or words.percent(share)}",
        no_wrap=True,
    )
