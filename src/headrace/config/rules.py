"""What each setting may be, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.errors import ConfigError, ErrorCode
from headrace.jobs import FailurePolicy
from headrace.model import CONTROLLERS, Limits, Priority
from headrace.policies.balance import STRATEGIES
from headrace.providers.addresses import check_base_url
from headrace.providers.dialects import dialect_named
from headrace.terms import Fallback, Price
from headrace.wire import check_headers

_MAX_S = 10.0 * 366 * 86_400
_MAX_RATE = 1e12

_Seconds = Annotated[float, Meta(gt=0, le=_MAX_S)]
_Rate = Annotated[float, Meta(gt=0, le=_MAX_RATE)]
_Count = Annotated[int, Meta(ge=1)]

_ABOVE_0_S = "seconds above 0"
AT_LEAST_1 = "a whole number from 1"


class Rule(msgspec.Struct, frozen=True):
    """What one setting may be.

    Args:
        kind: its type, with bounds.
        allowed: the same for people.
        read: turns it into what `RunSettings` holds; a ValueError or ConfigError
            refuses it.
    """

    kind: Any
    allowed: str
    read: Callable[[Any], Any] = lambda value: value


def split_header(text: str) -> tuple[str, str]:
    """Read `Name: value`.

    Raises:
        ConfigError: it cannot be sent, or is a credential. Its value is not shown, for
            it may be a secret.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError(f"given {name[:40]!r}, allowed 'Name: value'")
    header = (name.strip(), value.strip())
    if wrong := check_headers([header]):
        hint = "" if "credential" not in wrong else "; name it by --api-key-env"
        raise ConfigError(f"given {header[0][:40]!r}: {wrong}{hint}")
    return header


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def _in_flight(value: int | str) -> int | str:
    if isinstance(value, str) and value.strip("+-").isdigit():
        value = int(value)
    Limits(value)
    return value


def _strategy(value: str) -> str:
    if value not in STRATEGIES:
        raise ValueError("unknown")
    return value


def _usd(value: str | float) -> Decimal:
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("no number") from None
    if not usd.is_finite() or usd < 0:
        raise ValueError("below 0")
    return usd


def _budget(value: str | float) -> Decimal:
    if not (usd := _usd(value)) > 0:
        raise ValueError("not above 0")
    return usd


def _price(text: str) -> Price:
    model, _, numbers = text.rpartition("=")
    asked, slash, answered = numbers.partition("/")
    if not slash:
        raise ValueError("one number")
    return Price(_usd(asked.strip()), _usd(answered.strip()), model.strip())


def _prices(values: tuple[str, ...] | str) -> tuple[Price, ...]:
    prices = tuple(_price(text) for text in _several(values))
    if len({price.model for price in prices}) < len(prices):
        raise ValueError("a model has two prices")
    return prices


def _fallback(text: str) -> Fallback:
    models, _, codes = text.partition(":")
    model, arrow, to = models.partition("=")
    if not arrow:
        raise ValueError("no second model")
    on = tuple(ErrorCode(code.strip()) for code in codes.split(",") if code.strip())
    return Fallback(model.strip(), to.strip(), on or Fallback.ON)


def _fallbacks(values: tuple[str, ...] | str) -> tuple[Fallback, ...]:
    return tuple(_fallback(text) for text in _several(values))


def _cache_store(value: str) -> str:
    if value != "memory" and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("unknown")
    return value


def _several(values: tuple[str, ...] | str) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def _dialect(value: str) -> str:
    return dialect_named(value).name


def _file(value: str) -> str:
    if not value.strip():
        raise ValueError("empty")
    return value


_TEXTS = tuple[str, ...] | str


def _base_urls(values: tuple[str, ...] | str) -> tuple[str, ...]:
    urls = tuple(check_base_url(value) for value in _several(values))
    if len(set(urls)) < len(urls):
        raise ConfigError("the same address stands twice, allowed each once")
    return urls


def _headers(values: tuple[str, ...] | str) -> tuple[tuple[str, str], ...]:
    return tuple(split_header(value) for value in _several(values))


_PRIORITIES = ", ".join(priority.name.lower() for priority in Priority)

RULES: Mapping[str, Rule] = {
    "base_url": Rule(_TEXTS, "http://host[:port][/path]", _base_urls),
    "dialect": Rule(str, "a dialect's name", _dialect),
    "model": Rule(str, "a model's name"),
    "api_key_env": Rule(str, "the name of an environment variable", _file),
    "api_key_file": Rule(str, "the path of a file that holds the key", _file),
    "header": Rule(_TEXTS, "'Name: value'", _headers),
    "rpm": Rule(_Rate, "calls per minute, a number above 0"),
    "tpm": Rule(_Rate, "tokens per minute, a number above 0"),
    "in_flight": Rule(
        int | str,
        f"{AT_LEAST_1} to --max-in-flight, or some of {', '.join(CONTROLLERS)} "
        "joined by +",
        _in_flight,
    ),
    "max_in_flight": Rule(_Count, AT_LEAST_1),
    "strategy": Rule(str, ", ".join(STRATEGIES), _strategy),
    "timeout": Rule(_Seconds, _ABOVE_0_S),
    "deadline": Rule(_Seconds, _ABOVE_0_S),
    "max_attempts": Rule(_Count, AT_LEAST_1),
    "patience": Rule(_Seconds, _ABOVE_0_S),
    "on_failure": Rule(
        str, "keep, all, or a share between 0 and 1", FailurePolicy.parse
    ),
    "priority": Rule(str, _PRIORITIES, Priority.parse),
    "fallback": Rule(
        _TEXTS, "MODEL=OTHER or MODEL=OTHER:code,code of the error codes", _fallbacks
    ),
    "hedge": Rule(bool, "true or false"),
    "budget_usd": Rule(str | float, "US dollars, a number above 0", _budget),
    "price": Rule(
        _TEXTS,
        "[MODEL=]INPUT/OUTPUT, US dollars for a million tokens, 0 or more",
        _prices,
    ),
    "cache": Rule(bool, "true or false"),
    "cache_ttl": Rule(
        Annotated[float, Meta(ge=0, le=_MAX_S)], "seconds, 0 for none at all"
    ),
    "cache_store": Rule(str, "memory, or a redis:// address", _cache_store),
    "limit": Rule(_Count, AT_LEAST_1),
    "skip_bad_lines": Rule(bool, "true or false"),
    "max_line_bytes": Rule(_Count, AT_LEAST_1),
    "store": Rule(str, "a path or a postgresql:// address", _file),
    "json": Rule(bool, "true or false"),
}
