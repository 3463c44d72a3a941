"""What an error body says, in all the shapes that providers and proxies use."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MAX_MESSAGE_CHARS = 500
_MAX_SHOWN_BYTES = 2_000
_TEXTS = ("message", "msg", "detail", "error_description", "title", "error", "reason")
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_MAX_DEPTH = 5


class Fault(msgspec.Struct, frozen=True):
    """An error body, understood as far as it can be."""

    message: str = ""
    kind: str = ""
    """`error.type`, lower case."""
    code: str = ""
    """`error.code`, lower case."""

    @property
    def words(self) -> str:
        """Everything it says, lower case, to look for hints in."""
        return f"{self.kind} {self.code} {self.message.lower()}"


def read_fault(body: bytes) -> Fault:
    """Return what an error body says; an empty `Fault` if it says nothing."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault(_tidy(body[:_MAX_SHOWN_BYTES].decode(errors="replace")))
    inner = _inner(found)
    message = _tidy(_text(found, _MAX_DEPTH))
    return Fault(message, _word(inner.get("type")), _word(inner.get("code")))


def _inner(found: Any) -> dict[str, Any]:
    if isinstance(found, list) and found:  # Google wraps errors in a list
        found = found[0]
    if not isinstance(found, dict):
        return {}
    error = found.get("error")
    return error if isinstance(error, dict) else found


def _text(found: Any, depth: int) -> str:
    """Return the first text for people, looking inside lists and objects."""
    if isinstance(found, str):
        return found
    if depth == 0:
        return ""
    if isinstance(found, list):
        return "; ".join(filter(None, (_text(part, depth - 1) for part in found[:3])))
    if not isinstance(found, dict):
        return ""
    inside = (found.get(key) for key in ("error", "errors", *_TEXTS))
    texts = (_text(part, depth - 1) for part in inside if part)
    return next(filter(None, texts), "")


def _word(value: object) -> str:
    return str(value).lower()[:100] if isinstance(value, str | int) else ""


def _tidy(text: str) -> str:
    plain = _SPACE.sub(" ", _TAG.sub(" ", text[:_MAX_SHOWN_BYTES])).strip()
    if len(plain) <= MAX_MESSAGE_CHARS:
        return plain
    return plain[: MAX_MESSAGE_CHARS - 1] + "…"
