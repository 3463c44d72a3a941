"""What happened, as frozen values that anyone may listen to."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from headrace.jobs import Counts, JobState
from headrace.model import Quota


class EndpointView(msgspec.Struct, frozen=True):
    """One endpoint as it stands."""

    name: str
    in_flight: int
    in_flight_limit: int
    state: str
    """`closed`, `open` or `half_open`, as its breaker says."""
    calls_used: float | None = None
    """Share of the calls-per-minute limit in use, 0 to 1; None without such a limit."""
    tokens_used: float | None = None
    quotas: tuple[Quota, ...] = ()
    """What its last answer said of its own limits."""


class Progress(msgspec.Struct, frozen=True):
    """How a run stands; at most ten a second."""

    counts: Counts
    elapsed_s: float
    in_flight: int
    waiting: int
    backing_off: int
    calls_per_s: float
    """Outcomes a second, smoothed."""
    tokens_per_s: float
    input_tokens: int
    output_tokens: int
    tries: int
    binding: str
    """Which limit holds the run back now: `calls`, `tokens`, `in_flight`, `endpoint`,
    `upstream`, `input` or `none`."""
    left_s: float | None
    """Expected seconds to the end; None while unknown."""
    endpoints: tuple[EndpointView, ...] = ()
    cost_usd: Decimal | None = None
    """US dollars spent; None if no price is known."""


class TryFailed(msgspec.Struct, frozen=True):
    """One call failed; it may be tried again."""

    id: str
    code: str
    message: str
    endpoint: str
    wait_s: float | None
    """Seconds until the next try; None = given up."""


class BreakerMoved(msgspec.Struct, frozen=True):
    """An endpoint was cut off, is being probed, or is well again."""

    endpoint: str
    state: str
    reason: str


class JobMoved(msgspec.Struct, frozen=True):
    """A job changed its state."""

    job_id: str
    state: JobState
    version: int


Event = Progress | TryFailed | BreakerMoved | JobMoved
Listener = Callable[[Event], None]
"""Called in the event loop; must not block; its own error never harms the run."""
