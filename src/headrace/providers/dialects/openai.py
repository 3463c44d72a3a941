"""OpenAI's API, and the many that are compatible with it."""

from __future__ import annotations

from headrace.providers.dialects.llm import LlmDialect


def _auth(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("Authorization", f"Bearer {key}"),)


OPENAI = LlmDialect("openai", _auth)
