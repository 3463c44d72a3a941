"""What happened, as frozen values that anyone may listen to."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from headrace.jobs import Counts, JobState
from headrace.model import Quota, Trace, Usage


class LearntRate(msgspec.Struct, frozen=True):
    """A rate limit that nobody stated, of one model at one endpoint."""

    model: str
    dimension: str
    """`calls`, `tokens`, `input_tokens` or `output_tokens`."""
    per_minute: float
    used: float
    """Share of it in use, 0 to 1."""
    blocked_s: float
    """For so long nothing starts, as the provider asked; 0.0 = it may."""
    source: str
    """`headers` or `refusals`."""


class EndpointView(msgspec.Struct, frozen=True):
    """One endpoint as it stands."""

    name: str
    in_flight: int
    in_flight_limit: int
    state: str
    """`closed`, `open` or `half_open`, as its breaker says; `draining` or `drained`
    once it takes no more calls."""
    calls_used: float | None = None
    """Share of the calls-per-minute limit in use, 0 to 1; None without such a limit."""
    tokens_used: float | None = None
    quotas: tuple[Quota, ...] = ()
    """What its last answer said of its own limits."""
    limit_reason: str = ""
    """Why `in_flight_limit` last moved; "" if it never did, or never does."""
    learnt: tuple[LearntRate, ...] = ()
    """Limits that hold beside the stated ones; they never allow more."""
    note: str = ""
    """What was found out about it that a person should know; empty if nothing."""


class CacheStatistics(msgspec.Struct, frozen=True):
    """What a cache did for one run."""

    hits: int = 0
    """Answers that were kept."""
    misses: int = 0
    """Calls that were made, and answered."""
    joined: int = 0
    """Answers of an equal call under way."""
    stale: int = 0
    """Answers past their time, given because the call failed."""
    skipped: int = 0
    """Calls and answers that cannot be kept, such as streams."""
    input_tokens: int = 0
    """Saved, as the provider had counted them."""
    output_tokens: int = 0
    usd: Decimal | None = None
    """What the saved tokens would have cost; None if no price is known."""
    entries: int | None = None
    """Answers kept now; None if nobody has looked."""
    bytes: int | None = None

    @property
    def saved_calls(self) -> int:
        return self.hits + self.joined

    @property
    def hit_rate(self) -> float:
        """Share of the calls that may be kept which needed no call, 0 to 1."""
        asked = self.hits + self.joined + self.misses + self.stale
        return self.saved_calls / asked if asked else 0.0


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
    """Which limit holds the run back now: `calls`, `tokens`, one that was learnt
    (`learnt_calls`, `learnt_tokens`, …), `in_flight`, `endpoint`, `upstream`, `input`
    or `none`."""
    left_s: float | None
    """Expected seconds to the end; None while unknown."""
    endpoints: tuple[EndpointView, ...] = ()
    cache: CacheStatistics | None = None
    """None without a cache."""
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
    attempt: int = 0
    """Which try of the call it was, from 1; 0 = not known."""


class CallEnded(msgspec.Struct, frozen=True):
    """A call that no job holds has ended, well or not."""

    route: str
    tenant: str
    trace: Trace
    usage: Usage | None
    """None if it has no answer, or one that does not say."""


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


def unheard(event: Event) -> None:
    """Listen to nothing."""
