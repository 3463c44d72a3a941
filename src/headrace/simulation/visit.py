"""One call at the simulated provider: what will become of it, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from headrace.simulation.asking import Ask
from headrace.simulation.meters import Charge

Headers = tuple[tuple[str, str], ...]


class Fate(StrEnum):
    """How a visit will end if the caller waits long enough."""

    ANSWER = "answer"
    REFUSED = "refused"
    ERROR = "error"
    MALFORMED = "malformed"
    DROP_BEFORE = "drop_before"
    DROP_WITHIN = "drop_within"
    HANG = "hang"
    NO_CONNECTION = "no_connection"


class Phase(StrEnum):
    """Where a visit is."""

    WAITING = "waiting"
    SERVING = "serving"
    OVER = "over"


class Answer(msgspec.Struct, frozen=True):
    """What goes back over the wire."""

    status: int
    headers: Headers
    body: bytes


class Visit:
    """One call from its arrival to its end; changed by `Upstream` only.

    A driver sets `on_start` if the visit is waiting; it is called once, when the visit
    begins to be served.
    """

    __slots__ = (
        "ask",
        "charge",
        "error_body",
        "fate",
        "number",
        "on_start",
        "output_tokens",
        "phase",
        "retry_after_s",
        "service_s",
        "status",
    )

    def __init__(self, number: int, ask: Ask) -> None:
        self.number = number
        self.ask = ask
        self.fate = Fate.ANSWER
        self.phase = Phase.SERVING
        self.service_s = 0.0
        self.status = 200
        self.error_body = b""
        self.output_tokens = 0
        self.retry_after_s: float | None = None
        self.charge: Charge | None = None
        self.on_start: Callable[[], None] | None = None

    @property
    def is_started(self) -> bool:
        """Is it being served, or refused?"""
        return self.phase is not Phase.WAITING

    @property
    def is_streamed(self) -> bool:
        """Will the answer come in pieces?"""
        return self.ask.stream and self.fate in (Fate.ANSWER, Fate.DROP_WITHIN)


def go_duration(seconds: float) -> str:
    """Write a duration as OpenAI's headers do: `120ms`, `1.5s`, `6m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
