"""What can be set for `headrace serve`: the table `[serve]`, `HEADRACE_SERVE_…`, flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.config.rules import AT_LEAST_1, RULES, Rule
from headrace.config.settings import DEFAULT_STORE
from headrace.model import DEFAULT_MAX_IN_FLIGHT, Endpoint, Limits
from headrace.terms import Fallback, Price


class ServeSettings(msgspec.Struct, frozen=True):
    """How a service is run; names are those of the flags."""

    host: str = "127.0.0.1"
    port: int = 8000
    base_url: tuple[str, ...] = ()
    endpoint: tuple[Endpoint, ...] = ()
    """Beside those of `base_url`; from the tables `[[serve.endpoint]]` of a file."""
    dialect: str = "openai"
    api_key_env: str = ""
    api_key_file: str = ""
    header: tuple[tuple[str, str], ...] = ()
    rpm: float | None = None
    tpm: float | None = None
    in_flight: int | str = "auto"
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    strategy: str = "headroom"
    timeout: float = 600.0
    deadline: float = 600.0
    max_attempts: int = 5
    fallback: tuple[Fallback, ...] = ()
    hedge: bool = False
    price: tuple[Price, ...] = ()
    cache: bool = False
    cache_ttl: float | None = None
    cache_store: str = ""
    store: str = DEFAULT_STORE
    max_queued: int = 1_000
    grace: float = 30.0
    max_body_bytes: int = 32 * 2**20
    max_file_bytes: int | None = None
    max_batch_lines: int | None = None
    max_line_bytes: int = 16 * 2**20
    max_header_bytes: int = 64 * 2**10
    max_connections: int = 20_000
    client_timeout: float = 30.0
    private_upstreams: bool = False
    """May the admin API add endpoints with addresses of private ranges?"""
    keep_days: float | None = None
    log: str = "text"

    @property
    def limits(self) -> Limits:
        """What each endpoint may be asked for."""
        return Limits(
            self.in_flight, self.rpm, self.tpm, max_in_flight=self.max_in_flight
        )


def _host(value: str) -> str:
    if not value or any(c.isspace() or c in "/[]" for c in value):
        raise ValueError("no host")
    return value


def _log(value: str) -> str:
    if value not in ("text", "json"):
        raise ValueError("another form")
    return value


def _dialect(value: str) -> str:
    if value not in ("openai", "azure"):
        raise ValueError("another API")
    return value


_Bytes = Annotated[int, Meta(ge=1_024)]
_BYTES = "bytes, a whole number from 1024"
_SHARED = (
    *("base_url", "api_key_env", "api_key_file", "header", "rpm", "tpm", "in_flight"),
    *("max_in_flight", "strategy", "timeout", "deadline", "max_attempts", "fallback"),
    *("hedge", "price", "cache", "cache_ttl", "cache_store", "store"),
)
"""What means for a service what it means for a run."""

SERVE_RULES: Mapping[str, Rule] = {name: RULES[name] for name in _SHARED} | {
    "host": Rule(str, "an address of this machine, without a port", _host),
    "port": Rule(Annotated[int, Meta(ge=0, le=65_535)], "0 (a free one) to 65535"),
    "dialect": Rule(str, "openai or azure", _dialect),
    "max_queued": Rule(Annotated[int, Meta(ge=1)], AT_LEAST_1),
    "grace": Rule(Annotated[float, Meta(ge=0, le=86_400)], "seconds, 0 to 86400"),
    "max_body_bytes": Rule(_Bytes, _BYTES),
    "max_file_bytes": Rule(_Bytes, _BYTES),
    "max_batch_lines": Rule(Annotated[int, Meta(ge=1)], AT_LEAST_1),
    "max_line_bytes": RULES["max_line_bytes"],
    "max_header_bytes": Rule(_Bytes, _BYTES),
    "max_connections": Rule(Annotated[int, Meta(ge=1)], AT_LEAST_1),
    "keep_days": Rule(
        Annotated[float, Meta(gt=0, le=36_600)], "days above 0, at most 36600"
    ),
    "log": Rule(str, "text or json", _log),
    "private_upstreams": Rule(bool, "true or false"),
    "client_timeout": Rule(
        Annotated[float, Meta(gt=0, le=86_400)], "seconds above 0, at most 86400"
    ),
}
