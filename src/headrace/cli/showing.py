"""How a run is shown while it goes on: as plain lines, or as JSON for programs.

`terminal.py` holds the third way, for people before a terminal.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol, TextIO

import msgspec

from headrace.cli import words
from headrace.events import (
    BreakerMoved,
    Event,
    JobMoved,
    LearntRate,
    Progress,
    TryFailed,
)

_FIRST_S = 1.0
_PLAIN_S = 5.0
_JSON_S = 1.0

BINDINGS = {
    "calls": "calls per minute",
    "tokens": "tokens per minute",
    "learnt_calls": "calls per minute, as learnt",
    "learnt_tokens": "tokens per minute, as learnt",
    "learnt_input_tokens": "input tokens per minute, as learnt",
    "learnt_output_tokens": "output tokens per minute, as learnt",
    "in_flight": "calls in flight",
    "endpoint": "endpoints cut off or asking for a pause",
    "upstream": "the upstream, which does not answer",
    "input": "the input",
    "none": "nothing",
}


class Shown(Protocol):
    """Shows a run; every method is cheap and none raises for a lost reader."""

    interval_s: float
    """Seconds until the next `progress` is wanted."""

    def taking_in(self, lines: int, elapsed_s: float) -> None:
        """The input is being read and checked."""
        ...

    def progress(self, progress: Progress) -> None:
        """So it stands now."""
        ...

    def happened(self, event: Event) -> None:
        """Something happened."""
        ...

    def say(self, text: str) -> None:
        """Tell a person something that matters, in whole lines."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; idempotent."""
        ...


class PlainLines:
    """One line every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.interval_s = _FIRST_S

    def taking_in(self, lines: int, elapsed_s: float) -> None:
        self.interval_s = _PLAIN_S
        pace = words.rate(lines / elapsed_s) if elapsed_s > 0 else "0"
        self.say(f"checking the input: {words.count(lines)} lines, {pace} lines/s")

    def progress(self, progress: Progress) -> None:
        self.interval_s = _PLAIN_S
        self.say(progress_line(progress))

    def happened(self, event: Event) -> None:
        if isinstance(event, BreakerMoved):
            self.say(breaker_line(event))

    def say(self, text: str) -> None:
        for line in text.splitlines():
            self._write(f"headrace: {line}\n")

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody reads what we say: the run matters more
            return


class JsonLines:
    """One JSON object per event.

    Args:
        stream: where events go.
        errors: where words for people go.
        on_closed: called once when the reader of `stream` has gone.
    """

    interval_s = _JSON_S

    def __init__(
        self, stream: TextIO, errors: TextIO, on_closed: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._plain = PlainLines(errors)
        self._on_closed = on_closed
        self._is_closed = False

    def taking_in(self, lines: int, elapsed_s: float) -> None:
        self.event("validating", {"lines": lines, "elapsed_s": round(elapsed_s, 3)})

    def progress(self, progress: Progress) -> None:
        fields = msgspec.to_builtins(progress)
        if progress.cost_usd is not None:
            fields["cost_usd"] = float(progress.cost_usd)
        self.event("progress", fields)

    def happened(self, event: Event) -> None:
        match event:
            case TryFailed():
                self.event("try_failed", msgspec.to_builtins(event))
            case BreakerMoved():
                self.event("breaker", msgspec.to_builtins(event))
            case JobMoved():
                self.event("job", msgspec.to_builtins(event))

    def event(self, name: str, fields: dict[str, object]) -> None:
        """Write one event; after the reader has gone, nothing."""
        if self._is_closed:
            return
        line = msgspec.json.encode({"event": name, **fields}).decode()
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            self._is_closed = True
            if error.errno == errno.EPIPE:
                self._on_closed()

    def say(self, text: str) -> None:
        self._plain.say(text)

    def close(self) -> None:
        """Nothing is held."""


def progress_line(progress: Progress) -> str:
    """Return how a run stands in one line."""
    counts = progress.counts
    parts = [f"{words.count(counts.ended)} of {words.count(counts.total)} done"]
    if bad := counts.ended - counts.succeeded:
        parts[0] += f" ({words.count(bad)} failed)"
    parts.append(f"{words.count(progress.in_flight)} in flight{_found(progress)}")
    if progress.backing_off:
        parts.append(f"{words.count(progress.backing_off)} backing off")
    parts.append(f"{words.rate(progress.calls_per_s)} calls/s")
    parts.append(f"{words.rate(progress.tokens_per_s)} tokens/s")
    if progress.cost_usd is not None:
        parts.append(f"{words.spent(progress.cost_usd, None)} spent")
    parts += _used(progress)
    parts += [f"{v.name} {v.note}" for v in progress.endpoints if v.note]
    if progress.binding != "none":
        parts.append(f"held by {BINDINGS.get(progress.binding, progress.binding)}")
    if progress.left_s is not None:
        parts.append(f"ends in {words.duration(progress.left_s)}")
    return ", ".join(parts)


def _found(progress: Progress) -> str:
    """Return which limit was found, and why it is that; of the only endpoint."""
    if len(progress.endpoints) != 1 or not progress.endpoints[0].limit_reason:
        return ""
    view = progress.endpoints[0]
    return f" of {words.count(view.in_flight_limit)} ({view.limit_reason})"


def _used(progress: Progress) -> list[str]:
    """Return the share used of each rate limit, the fullest endpoint's."""
    found = []
    for noun, shares in (
        ("calls", [view.calls_used for view in progress.endpoints]),
        ("tokens", [view.tokens_used for view in progress.endpoints]),
    ):
        known = [share for share in shares if share is not None]
        if known:
            found.append(f"{words.percent(max(known))} of {noun}/min")
    fullest: dict[str, LearntRate] = {}
    for rate in (r for view in progress.endpoints for r in view.learnt):
        if rate.used >= fullest.get(rate.dimension, rate).used:
            fullest[rate.dimension] = rate
    learnt = fullest.values()
    return found + [f"{words.percent(r.used)} of {learnt_words(r)}" for r in learnt]


def learnt_words(rate: LearntRate) -> str:
    """Return which limit was learnt, from what, and how high it is."""
    noun = rate.dimension.replace("_", " ")
    figure = words.count(round(rate.per_minute))
    return f"{noun}/min (learnt from {rate.source}: {figure})"


def breaker_line(event: BreakerMoved) -> str:
    """Return what happened to an endpoint in one line."""
    what = {
        "open": "is cut off for a while",
        "half_open": "is being tried again",
        "closed": "is well again",
    }.get(event.state, event.state)
    reason = f": {words.one_line(event.reason)}" if event.reason else ""
    return f"{event.endpoint} {what}{reason}"
