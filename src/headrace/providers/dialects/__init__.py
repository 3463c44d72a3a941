"""The dialects of the APIs that are called, chosen by name."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.providers.dialects.anthropic import ANTHROPIC
from headrace.providers.dialects.azure import AZURE
from headrace.providers.dialects.dialect import Dialect
from headrace.providers.dialects.http import HTTP
from headrace.providers.dialects.openai import OPENAI

__all__ = ["DIALECTS", "Dialect", "dialect_named"]

DIALECTS: tuple[Dialect, ...] = (OPENAI, ANTHROPIC, AZURE, HTTP)


def dialect_named(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        ConfigError: there is none; lists what is allowed.
    """
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    allowed = ", ".join(dialect.name for dialect in DIALECTS)
    raise ConfigError(f"dialect {name!r} is none of {allowed}")
