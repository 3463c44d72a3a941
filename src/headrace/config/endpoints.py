"""The tables `[[run.endpoint]]` and `[[serve.endpoint]]`: endpoints with keys, limits and prices of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.config.rules import RULES
from headrace.errors import ConfigError
from headrace.model import Endpoint, Limits

_LIKE_A_RUN = ("rpm", "tpm", "in_flight", "max_in_flight", "price", "header")
"""Keys that mean for one endpoint what the setting means for all."""
_Texts = tuple[str, ...]
_OWN: Mapping[str, tuple[Any, str]] = {
    "url": (str, "http://host[:port][/path]"),
    "name": (Annotated[str, Meta(min_length=1)], "a name"),
    "api_key_env": (Annotated[str, Meta(min_length=1)], "an environment variable"),
    "weight": (Annotated[float, Meta(gt=0)], "a number above 0; leave it out for none"),
    "tier": (Annotated[int, Meta(ge=0)], "a whole number from 0"),
    "models": (_Texts, "a list of models"),
}


def read_endpoints(source: str, tables: object, base: Limits) -> tuple[Endpoint, ...]:
    """Read the tables of a settings file.

    Args:
        source: names the tables in messages.
        tables: as TOML gave them.
        base: limits of those that state none.

    Raises:
        ConfigError: names the table, the key, what was given and what is allowed.
    """
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError(
            f"{source}: allowed tables, each headed as [[run.endpoint]] is"
        )
    return tuple(
        _endpoint(f"{source} {number}", table, base)
        for number, table in enumerate(tables, 1)
    )


def _endpoint(source: str, table: dict[str, object], base: Limits) -> Endpoint:
    known = sorted({*_OWN, *_LIKE_A_RUN})
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(
                f"{source}: unknown key {key!r}, allowed {', '.join(known)}"
            )
        found[key] = _value(f"{source}: {key}", key, value)
    if "url" not in found:
        raise ConfigError(f"{source}: url: given nothing, allowed an address")
    (url,) = RULES["base_url"].read(found["url"])
    return Endpoint(
        found.get("name", url),
        url,
        found.get("api_key_env"),
        found.get("header", ()),
        _limits(source, found, base),
        found.get("weight", 1.0),
        found.get("tier", 0),
        found.get("models", ()),
        found.get("price", ()),
    )


def _value(source: str, key: str, value: object) -> object:
    read: Callable[[Any], Any] = _as_it_is
    if key in _OWN:
        kind, allowed = _OWN[key]
    else:
        rule = RULES[key]
        kind, allowed, read = rule.kind, rule.allowed, rule.read
    try:
        found: object = read(msgspec.convert(value, kind, strict=False))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except ValueError as error:
        given = ascii(str(value)[:80])
        raise ConfigError(f"{source}: given {given}, allowed {allowed}") from error
    return found


def _limits(source: str, found: Mapping[str, Any], base: Limits) -> Limits:
    limits = Limits(
        found.get("in_flight", base.in_flight),
        found.get("rpm", base.calls_per_minute),
        found.get("tpm", base.tokens_per_minute),
        max_in_flight=found.get("max_in_flight", base.max_in_flight),
    )
    if isinstance(limits.in_flight, int) and limits.in_flight > limits.max_in_flight:
        raise ConfigError(
            f"{source}: in_flight: given {limits.in_flight}, allowed 1 to "
            f"{limits.max_in_flight} (max_in_flight)"
        )
    return limits


def _as_it_is(value: object) -> object:
    return value
