"""What a user states of money, answers kept, second calls and other models."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from headrace.errors import ErrorCode

_MOST_PRICE_USD = 1_000_000
_MOST_USD = 1_000_000_000
"""Of a budget; nano-dollars up to nine times as many fit into a column of a database."""


class Price(msgspec.Struct, frozen=True):
    """What a million tokens of a model cost, in US dollars.

    Args:
        input_usd: 0 to 1,000,000, of what is sent.
        output_usd: likewise, of what comes back.
        model: the model it is for; empty = every model without a price of its own.

    Raises:
        ValueError: a price outside its range.
    """

    input_usd: Decimal
    output_usd: Decimal
    model: str = ""

    def __post_init__(self) -> None:
        for name in ("input_usd", "output_usd"):
            usd = getattr(self, name)
            if not usd.is_finite() or not 0 <= usd <= _MOST_PRICE_USD:
                raise ValueError(f"{name} {usd} is not between 0 and 1,000,000")


class CacheRules(msgspec.Struct, frozen=True):
    """How long answers are kept and given again.

    Args:
        ttl_s: seconds an answer is good for; None = for ever, 0 = not at all.
        jitter: share of `ttl_s` by which it may end earlier, 0 to 1.
        stale_if_error_s: seconds after its end in which an answer is still given if
            the call fails.

    Raises:
        ValueError: a number outside its range.
    """

    ttl_s: float | None = None
    jitter: float = 0.1
    stale_if_error_s: float = 0.0

    def __post_init__(self) -> None:
        if self.ttl_s is not None and not self.ttl_s >= 0:
            raise ValueError(f"ttl_s {self.ttl_s} is below 0")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter {self.jitter} is not between 0 and 1")
        if not self.stale_if_error_s >= 0:
            raise ValueError(f"stale_if_error_s {self.stale_if_error_s} is below 0")


class Hedge(msgspec.Struct, frozen=True):
    """When a slow call is made a second time, at another endpoint.

    Only for calls that are repeatable; the first answer counts.

    Args:
        quantile: of the durations seen, after which the second call is made, 0 to 1.
        budget: second calls as a share of all calls, 0 to 1.
        min_s: never before so many seconds.
        min_samples: durations that must have been seen, >= 1.

    Raises:
        ValueError: a number outside its range.

    Source: Dean & Barroso 2013, "The Tail at Scale" (after the 95th percentile).
    """

    quantile: float = 0.95
    budget: float = 0.05
    min_s: float = 1.0
    min_samples: int = 100

    def __post_init__(self) -> None:
        for name in ("quantile", "budget"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0 and 1")
        if not self.min_s >= 0:
            raise ValueError(f"min_s {self.min_s} is below 0")
        if self.min_samples < 1:
            raise ValueError(f"min_samples {self.min_samples} is less than 1")


class Budget(msgspec.Struct, frozen=True):
    """What may be spent; reserved before each call.

    Args:
        usd: US dollars, above 0 and up to 1,000,000,000; None = any.
        tokens: input and output together, > 0; None = any.

    Raises:
        ValueError: a number outside its range.
    """

    usd: Decimal | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        usd, tokens = self.usd, self.tokens
        if usd is not None and not (usd.is_finite() and 0 < usd <= _MOST_USD):
            raise ValueError(f"usd {usd} is not above 0 and up to 1,000,000,000")
        if tokens is not None and not tokens > 0:
            raise ValueError(f"tokens {tokens} is not above 0")


class Fallback(msgspec.Struct, frozen=True):
    """Which model answers where another one has failed for good.

    Args:
        model: the model asked for.
        to: the model that is asked instead.
        on: error codes of the last attempt after which it is.

    Raises:
        ValueError: an empty name, or twice the same.
    """

    ON: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode.RATE_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.SERVER_ERROR,
        ErrorCode.TIMED_OUT,
        ErrorCode.UNKNOWN_MODEL,
    )
    """After which errors, unless said otherwise."""

    model: str
    to: str
    on: tuple[ErrorCode, ...] = ON

    def __post_init__(self) -> None:
        if not self.model or not self.to or self.model == self.to:
            raise ValueError(f"fallback from {self.model!r} to {self.to!r}")


class KeyLimits(msgspec.Struct, frozen=True):
    """How much may be asked for with one key; None = as much as there is.

    Args:
        calls_per_minute: calls made at once and items of jobs, > 0; as many requests of
            any kind.
        tokens_per_minute: of calls and items, as estimated, > 0.
        in_flight: calls and items at the same moment, >= 1.
    """

    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: int | None = None


BudgetWindow = Literal["total", "day", "week", "month"]
"""When a budget begins anew, by the UTC calendar; `total`: never."""
BUDGET_WINDOWS: tuple[BudgetWindow, ...] = ("total", "day", "week", "month")


class KeyBudget(msgspec.Struct, frozen=True):
    """What may be spent with one key.

    Args:
        usd: US dollars, above 0 and up to 1,000,000,000.
        window: for how long.
    """

    usd: Decimal
    window: BudgetWindow = "total"


class KeyTerms(msgspec.Struct, frozen=True):
    """What binds the calls of one key, and the items of its jobs."""

    limits: KeyLimits = KeyLimits()
    budget: KeyBudget | None = None
