"""The tokens that an LLM API says it used, and whether its body is an answer."""

from __future__ import annotations

import msgspec

from headrace.errors import BadReply
from headrace.model import Usage
from headrace.providers.dialects.faults import read_fault

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Counts(msgspec.Struct):
    # chat, completions, embeddings
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    # responses, messages
    input_tokens: int | None = None
    output_tokens: int | None = None
    # messages: these come on top of input_tokens
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Body(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Event(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    message: _Body | None = None
    """Where messages tell the input, in `message_start`."""
    response: _Body | None = None
    """Where responses tell it all, in `response.completed`."""


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode_counts = msgspec.json.Decoder(_Counts).decode


def read_usage(body: bytes) -> Usage | None:
    """Return the tokens that a body reports; None if it reports none.

    Raises:
        BadReply: it is no JSON object, or holds an error.
    """
    try:
        found = _decode_body(body)
        if not body.isascii():
            body.decode()  # the decoder skips texts that it is not asked for
    except _UNREADABLE as error:
        shown = read_fault(body).message[:200]
        raise BadReply(
            f"the answer is no JSON object: {shown or 'it is empty'}", body=body
        ) from error
    if found.error is not msgspec.UNSET and bytes(found.error).startswith(b"{"):
        message = read_fault(body).message or "no message"
        raise BadReply(f"the answer holds an error: {message}", body=body)
    return _counts(found.usage)


def read_event_usage(data: bytes) -> Usage | None:
    """Return the tokens that one event of a stream reports; None if it reports none."""
    if b'"usage"' not in data:
        return None
    try:
        event = _decode_event(data)
    except _UNREADABLE:
        return None
    for body in (event, event.message, event.response):
        if body is not None and (usage := _counts(body.usage)) is not None:
            return usage
    return None


def _counts(raw: msgspec.Raw | msgspec.UnsetType) -> Usage | None:
    if raw is msgspec.UNSET:
        return None
    try:
        counts = _decode_counts(raw)
    except _UNREADABLE:
        return None
    if counts.prompt_tokens is not None:
        return Usage(counts.prompt_tokens, counts.completion_tokens or 0)
    cached = (counts.cache_creation_input_tokens or 0) + (
        counts.cache_read_input_tokens or 0
    )
    return Usage((counts.input_tokens or 0) + cached, counts.output_tokens or 0)
