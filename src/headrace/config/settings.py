"""What can be set for a run, as one frozen value."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from headrace.jobs import FailurePolicy
from headrace.model import DEFAULT_MAX_IN_FLIGHT, Endpoint, Limits, Priority, Retry
from headrace.terms import Budget, CacheRules, Fallback, Hedge, Price

DEFAULT_STORE = "headrace.db"


class RunSettings(msgspec.Struct, frozen=True):
    """How a run is made; names are those of the flags."""

    base_url: tuple[str, ...] = ()
    endpoint: tuple[Endpoint, ...] = ()
    """Beside those of `base_url`; from the tables `[[run.endpoint]]` of a file."""
    dialect: str = "openai"
    model: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    header: tuple[tuple[str, str], ...] = ()
    rpm: float | None = None
    tpm: float | None = None
    in_flight: int | str = "auto"
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    strategy: str = "headroom"
    timeout: float = 600.0
    deadline: float | None = None
    max_attempts: int = 5
    patience: float = 900.0
    on_failure: FailurePolicy = FailurePolicy()
    priority: Priority = Priority.NORMAL
    fallback: tuple[Fallback, ...] = ()
    hedge: bool = False
    budget_usd: Decimal | None = None
    price: tuple[Price, ...] = ()
    cache: bool = False
    cache_ttl: float | None = None
    cache_store: str = ""
    limit: int | None = None
    skip_bad_lines: bool = False
    max_line_bytes: int = 16 * 2**20
    store: str = DEFAULT_STORE
    json: bool = False

    @property
    def limits(self) -> Limits:
        """What each endpoint may be asked for."""
        return Limits(
            self.in_flight, self.rpm, self.tpm, max_in_flight=self.max_in_flight
        )

    @property
    def retry(self) -> Retry:
        return Retry(max_attempts=self.max_attempts)

    @property
    def has_prices(self) -> bool:
        """Is a price stated for all addresses, or for one?"""
        return bool(self.price) or any(each.prices for each in self.endpoint)

    @property
    def budget(self) -> Budget | None:
        """What the job may spend; None = any."""
        return None if self.budget_usd is None else Budget(self.budget_usd)

    @property
    def cache_rules(self) -> CacheRules | None:
        """How answers are kept; None if they are not."""
        return CacheRules(ttl_s=self.cache_ttl) if self.cache else None

    @property
    def hedging(self) -> Hedge | None:
        """When a slow call is made a second time; None = never."""
        return Hedge() if self.hedge else None
