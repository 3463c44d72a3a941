"""What a client asks of the gateway: a body, how urgently, and until when."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from fastapi import Request

from headrace.model import Priority
from headrace.service.errors import ApiError, is_json

PRIORITY = "x-headrace-priority"
_OWN = "x-request-timeout"
_NODES = "x-stainless-timeout"
DEADLINES = (_OWN, "x-stainless-read-timeout", _NODES)
"""Seconds that a client waits: by its own word, from Python, from Node."""
_MOST_S = 86_400.0


class _Asked(msgspec.Struct):
    """Only to see that the body is a JSON object, whole and with nothing after it."""


_check = msgspec.json.Decoder(_Asked).decode


async def asked_of(request: Request) -> bytes:
    """Return the body of a request, which is a JSON object.

    Raises:
        ApiError: it is none (400), or is not sent as one (415).
    """
    media = request.headers.get("content-type", "")
    if not is_json(media):
        # Also keeps web pages out: without CORS no page can send this type here.
        raise ApiError(
            415,
            f"content-type: given {media[:80]!r}, allowed application/json",
            code="unsupported_media_type",
        )
    body = await request.body()
    try:
        _check(body)
        if not body.isascii():
            body.decode()  # the decoder skips texts that it is not asked for
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400, f"the body is not a JSON object: {error}", code="invalid_json"
        ) from error
    return body


def priority_of(headers: Mapping[str, str]) -> Priority:
    """Return how urgent a call is; high unless its client says otherwise.

    Raises:
        ApiError: an unknown word.
    """
    word = headers.get(PRIORITY)
    if word is None:
        return Priority.HIGH
    try:
        return Priority.parse(word.strip())
    except ValueError as error:
        raise ApiError(
            400, f"{PRIORITY}: {error}", code="invalid_priority", param=PRIORITY
        ) from error


def deadline_of(headers: Mapping[str, str], default_s: float) -> float:
    """Return how many seconds from now an answer is of no more use to the client.

    What the official clients say by themselves never makes a call fail.

    Raises:
        ApiError: `x-request-timeout` is no number of seconds.
    """
    for name in DEADLINES:
        text = headers.get(name)
        if text is None:
            continue
        seconds = _seconds(text)
        if name == _NODES and seconds >= 0:
            seconds += 1  # whole seconds, rounded down: 0 for half a second
        if seconds > 0:
            return min(seconds, _MOST_S)
        if name == _OWN:
            raise ApiError(
                400,
                f"{name}: given {text[:40]!r}, allowed seconds above 0",
                code="invalid_timeout",
                param=name,
            )
    return default_s


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
