"""Azure's rendering of OpenAI's API: the same bodies, the key in its own header.

The base URL is that of the v1 API (`…/openai/v1`), which needs no `api-version`.
"""

from __future__ import annotations

from headrace.providers.dialects.llm import LlmDialect


def _auth(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("api-key", key),)


AZURE = LlmDialect("azure", _auth)
