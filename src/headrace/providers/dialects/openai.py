"""OpenAI's API, and the many that are compatible with it."""

from __future__ import annotations

from headrace.providers.dialects.llm import LlmDialect


def _auth(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("Authorization", f"Bearer {key}"),)


OPENAI = LlmDialect("openai", _auth, check_paths=("/v1/models", "/health"))
"""The list of models is free with all who are compatible. Where there is none (TEI),
`/health` may be; it is not asked first, for some gateways call every model for it."""
