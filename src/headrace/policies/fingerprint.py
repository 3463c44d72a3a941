"""Which calls are equal: the key under which an answer is kept."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from headrace.wire import HttpRequest

FORMAT: Final = 1
"""Raised when keys or kept answers change their form: older ones are then not found."""

KEY_BYTES: Final = 32
"""Two calls in 2**128 meet by chance: no call is given another's answer."""

METHODS: Final = frozenset({"GET", "HEAD", "POST"})
"""PUT, PATCH and DELETE change something each time, so their answers are not kept."""

VOLATILE: Final = (
    "user",
    "metadata",
    "store",
    "stream",
    "stream_options",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
)
"""Fields of a body that do not change what is answered: who asks, how it is filed, how
soon and in which pieces it comes.

Source: OpenAI API reference, "Create chat completion"; Anthropic, "Messages".
"""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def scope_of(
    dialect: str, base_urls: Iterable[str], headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return who answers: a model of the same name elsewhere gives other answers.

    Args:
        dialect: how they are asked.
        base_urls: of the pool, in any order.
        headers: sent with every call; never hold a key.
    """
    return _encode([FORMAT, dialect, sorted(set(base_urls)), _canonical(headers)])


def request_key(request: HttpRequest, scope: bytes, tenant: str) -> bytes | None:
    """Return the key of a call over HTTP; None if its answer is not to be kept.

    Equal are calls whose bodies say the same, in whatever order, spacing and spelling,
    apart from `VOLATILE` fields. A body that does not parse, or in which a name stands
    twice, is equal to the same bytes only. A streamed answer is not kept.
    """
    if request.method not in METHODS or not request.cacheable:
        return None
    body = canonical_body(request.body)
    if body is None:
        return None
    place = _encode([request.method, request.path, tenant, _canonical(request.headers)])
    return _digest(scope, place, body)


def function_scope(name: str) -> bytes:
    """Return who answers, for a function of that name."""
    return _encode([FORMAT, "function", name])


def argument_key(argument: Any, scope: bytes, tenant: str) -> bytes | None:
    """Return the key of a function's call; None if JSON cannot hold the argument.

    An argument that JSON gives back as something else, such as a tuple or an object,
    might be told apart by the function: its answer is not kept.
    """
    body = plain_json(argument)
    return None if body is None else _digest(scope, _encode(tenant), body)


def plain_json(value: Any) -> bytes | None:
    """Return a value as sorted JSON; None if that would not give the same value back."""
    try:
        text = _encode(value)
        return text if _decode(text) == value else None
    except (TypeError, ValueError, RecursionError, OverflowError):
        return None


def canonical_body(body: bytes | None) -> bytes | None:
    """Return the same bytes for bodies that say the same; None for a streamed answer."""
    if body is None:
        return b""
    try:
        found = _decode(body)
        if not isinstance(found, dict):
            return b"=" + body
        if found.get("stream"):
            return None
        dropped = {name: found.pop(name) for name in VOLATILE if name in found}
        kept = _encode(found)
        if _says_all(body, kept, _encode(dropped)):
            return kept
    except (ValueError, RecursionError):
        pass
    return b"=" + body


def _says_all(body: bytes, kept: bytes, dropped: bytes) -> bool:
    """Does no name stand twice, of which one was lost?

    Each name brings two quotation marks, so a second one of the same name is seen by
    their number. A mark written as its number would be miscounted.
    """
    if b"\\u0022" in body:
        return False
    return body.count(b'"') == kept.count(b'"') + dropped.count(b'"')


def _canonical(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers)


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=KEY_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
