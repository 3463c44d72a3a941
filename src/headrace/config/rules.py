"""What each setting may be, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from headrace.errors import ConfigError, ErrorCode
from headrace.jobs import FailurePolicy
from headrace.model import CONTROLLERS, Limits, Priority
from headrace.policies.balance import STRATEGIES
from headrace.providers.addresses import check_base_url
from headrace.providers.dialects import dialect_named
from headrace.terms import Budget, Fallback, Price
from headrace.wire import check_headers

_MAX_S = 10.0 * 366 * 86_400
_MAX_RATE = 1e12

_Seconds = Annotated[float, Meta(gt=0, le=_MAX_S)]
_Rate = Annotated[float, Meta(gt=0, le=_MAX_RATE)]
_Count = Annotated[int, Meta(ge=1)]

_ABOVE_0_S = "seconds above 0"
AT_LEAST_1 = "a whole number from 1"
_PRICE = "[MODEL=]INPUT/OUTPUT, US dollars for a million tokens, 0 to 1,000,000"
_FALLBACK = "MODEL=OTHER or MODEL=OTHER:code,code of the error codes"
_CACHE_STORE = "memory, or a redis:// address"
_REDIS = ("redis", "rediss", "unix")
_T = TypeVar("_T")


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
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{str(value)!a} is no number") from None


def _budget(value: str | float) -> Decimal:
    usd = _usd(value)
    Budget(usd)
    return usd


def _price(text: str) -> Price:
    model, _, numbers = text.rpartition("=")
    asked, slash, answered = numbers.partition("/")
    if not slash:
        raise ValueError("no / between two prices")
    return Price(_usd(asked.strip()), _usd(answered.strip()), model.strip())


def _prices(values: tuple[str, ...] | str) -> tuple[Price, ...]:
    prices = _each(_price, values, _PRICE)
    models = [price.model for price in prices]
    for model in models:
        if models.count(model) > 1:
            which = f"model {model!a} has" if model else "all models have"
            raise ConfigError(f"{which} several prices, allowed one")
    return prices


def _fallback(text: str) -> Fallback:
    model, arrow, rest = text.partition("=")
    if not arrow:
        raise ValueError("no second model")
    # The last colon counts: names of models may hold others.
    to, _, codes = rest.rpartition(":") if ":" in rest else (rest, "", "")
    on = tuple(_code(code.strip(), rest) for code in codes.split(",") if code.strip())
    return Fallback(model.strip(), to.strip(), on or Fallback.ON)


def _code(text: str, rest: str) -> ErrorCode:
    try:
        return ErrorCode(text)
    except ValueError:
        raise ConfigError(
            f"{text!a} is no error code, allowed {', '.join(ErrorCode)}; if it belongs "
            f"to the name of the model, end with a colon: {ascii(rest + ':')[1:-1]}"
        ) from None


def _fallbacks(values: tuple[str, ...] | str) -> tuple[Fallback, ...]:
    rules = _each(_fallback, values, _FALLBACK)
    seen: set[tuple[str, ErrorCode]] = set()
    for rule in rules:
        for code in rule.on:
            if (rule.model, code) in seen:
                raise ConfigError(
                    f"{rule.model!a} has two other models for {code}, allowed one, "
                    "which may have one of its own (A=B and B=C)"
                )
            seen.add((rule.model, code))
    return rules


def _cache_store(value: str) -> str:
    """Refuse what is no place, without its password."""
    if value == "memory":
        return value
    try:
        parts = urlsplit(value)
        is_sound = parts.scheme in _REDIS and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise ConfigError(f"{error}, allowed {_CACHE_STORE}") from None
    database = parts.path.strip("/")
    if not is_sound:
        raise ConfigError(f"given {_harmless(value)}, allowed {_CACHE_STORE}")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ConfigError(
            f"given the database {database[:40]!a}, allowed a number, as in "
            "redis://host:6379/0"
        )
    return value


def _harmless(address: str) -> str:
    scheme, mark, rest = address.partition("://")
    shown = f"{scheme}{mark}{rest.rpartition('@')[2]}"
    return ascii(shown if len(shown) <= 80 else shown[:80] + "…")


def _each(
    read: Callable[[str], _T], values: tuple[str, ...] | str, allowed: str
) -> tuple[_T, ...]:
    """Read several values; an error names the one that is wrong."""
    found = []
    for text in _several(values):
        try:
            found.append(read(text))
        except ConfigError as error:
            raise ConfigError(f"given {text[:80]!a}: {error}") from None
        except ValueError as error:
            raise ConfigError(
                f"given {text[:80]!a}: {error}; allowed {allowed}"
            ) from None
    return tuple(found)


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
    "fallback": Rule(_TEXTS, _FALLBACK, _fallbacks),
    "hedge": Rule(bool, "true or false"),
    "budget_usd": Rule(
        str | float, "US dollars, a number above 0, up to 1,000,000,000", _budget
    ),
    "price": Rule(_TEXTS, _PRICE, _prices),
    "cache": Rule(bool, "true or false"),
    "cache_ttl": Rule(
        Annotated[float, Meta(ge=0, le=_MAX_S)],
        "seconds from 0, which keeps nothing, to ten years",
    ),
    "cache_store": Rule(str, _CACHE_STORE, _cache_store),
    "limit": Rule(_Count, AT_LEAST_1),
    "skip_bad_lines": Rule(bool, "true or false"),
    "max_line_bytes": Rule(_Count, AT_LEAST_1),
    "store": Rule(str, "a path or a postgresql:// address", _file),
    "json": Rule(bool, "true or false"),
}
