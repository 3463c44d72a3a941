"""Lets schemathesis send lines."""

from __future__ import annotations

from typing import Any

import schemathesis


def _sent(_context: Any, value: Any) -> bytes:
    text = value if isinstance(value, str) else repr(value)
    return text.encode(errors="surrogatepass")


for kind in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"):
    schemathesis.serializer(kind)(_sent)
