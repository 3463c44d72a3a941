"""Anthropic's API of messages."""

from __future__ import annotations

from headrace.providers.dialects.llm import LlmDialect

API_VERSION = "2023-06-01"
"""Source: Anthropic's API reference, "Versions"; a line's header may state another."""


def _auth(key: str | None) -> tuple[tuple[str, str], ...]:
    version = ("anthropic-version", API_VERSION)
    return (version,) if key is None else (("x-api-key", key), version)


ANTHROPIC = LlmDialect("anthropic", _auth, "actual")
"""Output is corrected to what was used when a call ends; sources differ on whether
`max_tokens` is charged before. If a refusal shows otherwise, the gate changes over."""
