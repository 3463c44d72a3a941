"""The words of Headrace as frozen values: calls, replies, outcomes, limits.

Times ending in `_at` are UTC seconds since 1970, times ending in `_s` are
durations in seconds, `deadline` is on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Literal

import msgspec

from headrace.errors import ErrorCode
from headrace.terms import Price


class Priority(IntEnum):
    """How urgent a job is; a larger number goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    URGENT = 3

    @classmethod
    def parse(cls, word: str) -> Priority:
        """Return the priority named `word`.

        Raises:
            ValueError: an unknown word; never silently normal.
        """
        try:
            return cls[word.upper()]
        except KeyError:
            allowed = ", ".join(p.name.lower() for p in cls)
            raise ValueError(f"priority {word!r} is none of {allowed}") from None


class ItemState(StrEnum):
    """Where an item is; see the drawing in docs/design.md."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SKIPPED = "skipped"


ITEM_ENDS = frozenset(
    {
        ItemState.SUCCEEDED,
        ItemState.FAILED,
        ItemState.CANCELLED,
        ItemState.EXPIRED,
        ItemState.SKIPPED,
    }
)


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Quota(msgspec.Struct, frozen=True, gc=False):
    """What a provider's headers say of one of its limits."""

    dimension: str
    """`calls`, `tokens`, `input_tokens` or `output_tokens`."""
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None
    window_s: float = 60.0
    """The period that `limit` is for."""


class Trace(msgspec.Struct, gc=False):
    """Where the time of one item went; the layers add to it as the item passes.

    Invariant: the parts add up to the item's sojourn time.
    """

    attempts: int = 0
    """Attempts that counted against `max_attempts`."""
    tries: int = 0
    """Calls really made, also those that spent no attempt."""
    queued_s: float = 0.0
    rate_s: float = 0.0
    slot_s: float = 0.0
    endpoint_s: float = 0.0
    backoff_s: float = 0.0
    in_flight_s: float = 0.0
    recording_s: float = 0.0
    endpoint: str = ""
    joined_s: float = 0.0
    """Waiting for an equal call under way."""
    cached: bool = False
    """Was it answered without a call of its own?"""
    cost_nano: int = -1
    """What its tries cost, in nano-dollars; -1 = no price is known."""
    hedges: int = 0
    """Second calls made beside a slow one."""
    hedges_won: int = 0
    """Second calls that answered first."""
    model: str = ""
    """The model asked last, if it is another one than the call names (a fallback)."""


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What one call takes from the limits, estimated before it is sent."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NO_COST = Cost()


class Call(msgspec.Struct, frozen=True):
    """One request we want answered."""

    id: str
    """`<job>-<seq>`; each try is sent as `<job>-<seq>-<try>`."""
    index: int
    payload: Any
    """What the provider understands: an `HttpRequest`, or a function's argument."""
    trace: Trace
    model: str = ""
    flow: str = ""
    """Who asks: tenant and job; the gate is fair between flows of one priority."""
    priority: Priority = Priority.NORMAL
    cost: Cost = NO_COST
    deadline: float | None = None
    """Monotonic seconds after which an answer is of no use."""
    repeatable: bool = True
    """May it be sent again when it is unknown whether it was carried out?"""
    cacheable: bool = True
    """May an answer that was kept do, and may this one's be kept?"""
    job: int = 0
    """`Job.number`, whose budget it spends; 0 = of no job."""
    tenant: str = ""
    key: str = ""
    """Id of the service's key whose limits and budget bind it; "" = none."""
    avoid: str = ""
    """Name of the endpoint it must not go to. Such a call never waits at the gate."""
    affinity: str = ""
    """Calls with the same one profit from the same endpoint; for `sticky` only."""
    falls_back_on: tuple[ErrorCode, ...] = ()
    """After these errors another model is asked."""


class Reply(msgspec.Struct):
    """What came back: a body, or a stream of chunks that owns its permits."""

    body: Any = None
    chunks: AsyncIterator[bytes] | None = None
    usage: Usage | None = None
    status: int | None = None
    request_id: str | None = None
    quotas: tuple[Quota, ...] = ()
    headers: Mapping[str, str] | None = None
    """Of an answer over HTTP that was not kept; their names ignore case."""


Handler = Callable[[Call], Awaitable[Reply]]
"""The one waist: everything that answers a call has this form."""

Layer = Callable[[Handler], Handler]
"""Something around a handler: retry, gate, cache, …"""


class Failure(msgspec.Struct, frozen=True):
    """Why an item did not succeed."""

    code: ErrorCode
    message: str
    status: int | None = None
    body: bytes | None = None
    request_id: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How one item ended; every item has exactly one."""

    id: str
    """The user's name for it (`custom_id`), or its index as text."""
    index: int
    state: ItemState
    value: Any = None
    """The answer of a succeeded item: bytes over HTTP, else the function's result."""
    failure: Failure | None = None
    usage: Usage | None = None
    status: int | None = None
    request_id: str | None = None
    trace: Trace = msgspec.field(default_factory=Trace)
    number: int = 0
    """Position among the job's outcomes, from 1; 0 in memory."""
    cost_usd: Decimal | None = None
    """US dollars, >= 0, to the billionth; None if no price is known."""

    @property
    def ok(self) -> bool:
        """Did it succeed?"""
        return self.state is ItemState.SUCCEEDED

    @property
    def attempts(self) -> int:
        return self.trace.attempts


TokenAccounting = Literal["reserved", "actual"]
"""Whether a provider keeps what it estimated of a call, or charges what it used."""
CONTROLLERS = ("auto", "aimd", "cpu", "throughput")
"""Who may find out how many calls an endpoint takes at once."""
DEFAULT_IN_FLIGHT = 32
"""Of functions; over HTTP the number is found."""
DEFAULT_MAX_IN_FLIGHT = 512


class Limits(msgspec.Struct, frozen=True):
    """What one endpoint may be asked for; None means no limit is known.

    Args:
        in_flight: calls at the same moment, >= 1; or the names of controllers that
            find it, joined by `+`: `auto`, `aimd`, `cpu`, `throughput`. The lowest of
            them holds. None: `auto` over HTTP, 32 for functions.
        calls_per_minute: calls started in any 60 s, > 0.
        tokens_per_minute: tokens reserved in any 60 s, > 0.
        jitter_s: how much later than it started a call may reach the provider.
        token_accounting: `reserved` if the provider keeps what it estimated,
            `actual` if it charges what was used; None: as the dialect says, of
            functions `reserved`.
        max_in_flight: no controller goes above, >= 1.

    Raises:
        ValueError: a number outside its range, or an unknown controller.
    """

    in_flight: int | str | None = None
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    jitter_s: float = 0.2
    token_accounting: TokenAccounting | None = None
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT

    def __post_init__(self) -> None:
        _check_in_flight(self.in_flight)
        if self.max_in_flight < 1:
            raise ValueError(f"max_in_flight {self.max_in_flight} is less than 1")
        for name in ("calls_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} {value} is not above 0")
        if not 0 <= self.jitter_s <= 60:
            raise ValueError(f"jitter_s {self.jitter_s} is not between 0 and 60")

    @property
    def controllers(self) -> tuple[str, ...]:
        """Who moves the number of calls in flight; empty if it is stated."""
        return tuple(self.in_flight.split("+")) if type(self.in_flight) is str else ()

    @property
    def most_in_flight(self) -> int:
        """The largest number of calls that may ever be in flight."""
        if isinstance(self.in_flight, int):
            return self.in_flight
        return self.max_in_flight

    def with_in_flight(self, in_flight: int | str) -> Limits:
        """Return these limits with `in_flight` settled where it was left open."""
        if self.in_flight is not None:
            return self
        return msgspec.structs.replace(self, in_flight=in_flight)


def _check_in_flight(value: int | str | None) -> None:
    if isinstance(value, str):
        names = value.split("+")
        if len(set(names)) < len(names) or not set(names) <= set(CONTROLLERS):
            raise ValueError(
                f"in_flight {value!r} is neither a number nor some of "
                f"{', '.join(CONTROLLERS)} joined by +"
            )
    elif value is not None and value < 1:
        raise ValueError(f"in_flight {value} is less than 1")


class Retry(msgspec.Struct, frozen=True):
    """How often and how patiently a call is tried again.

    Args:
        max_attempts: attempts in all, the first included, >= 1. Being throttled and
            waiting for a sick endpoint spend none.
        cap_s: longest back-off of our own choice; a provider's `Retry-After` may be longer.
        total_s: time limit of one item over all its attempts; None = no limit.

    Raises:
        ValueError: a number outside its range.
    """

    max_attempts: int = 5
    cap_s: float = 30.0
    total_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts {self.max_attempts} is less than 1")
        if not self.cap_s > 0:
            raise ValueError(f"cap_s {self.cap_s} is not above 0")
        if self.total_s is not None and not self.total_s > 0:
            raise ValueError(f"total_s {self.total_s} is not above 0")


class Endpoint(msgspec.Struct, frozen=True):
    """Where calls may go.

    Args:
        name: shown to people; unique in its pool.
        base_url: scheme, host, port and path prefix, without a trailing `/v1`; empty
            for functions.
        key_env: name of the environment variable that holds the key, if any.
        headers: sent with each call; never hold a key.
        weight: share of the work beside the other endpoints, > 0.
        tier: for the strategy `priority`: 0 is used first, >= 0.
        models: the models it serves; empty = any.
        prices: of its models; empty = those of the route.

    Raises:
        ValueError: a number outside its range.
    """

    name: str
    base_url: str = ""
    key_env: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    limits: Limits = Limits()
    weight: float = 1.0
    tier: int = 0
    models: tuple[str, ...] = ()
    prices: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight {self.weight} is not above 0")
        if self.tier < 0:
            raise ValueError(f"tier {self.tier} is below 0")


def with_token_accounting(endpoint: Endpoint, accounting: TokenAccounting) -> Endpoint:
    """Return the endpoint with its token accounting settled where it was left open."""
    if endpoint.limits.token_accounting is not None:
        return endpoint
    limits = msgspec.structs.replace(endpoint.limits, token_accounting=accounting)
    return msgspec.structs.replace(endpoint, limits=limits)
