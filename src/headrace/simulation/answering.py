"""The simulated provider's answers: whole bodies, streamed pieces, errors.

A prompt always gets the same text. The forms are those of the OpenAI API reference, so
that the official client's types accept them.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from headrace.simulation.asking import Ask, BadAsk

Fields = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_WORDS = [
    "water",
    "wheel",
    "mill",
    "race",
    "stone",
    "flour",
    "river",
    "gate",
    "sluice",
    "weir",
    "pond",
    "stream",
    "leat",
    "spring",
    "meal",
    "grain",
    "miller",
    "belt",
    "gear",
    "shaft",
    "axle",
    "bucket",
    "paddle",
    "brook",
    "ford",
    "bank",
    "reed",
    "heron",
    "dam",
    "flow",
    "head",
    "fall",
]
_WORD_OF_BYTE = tuple(_WORDS[byte % len(_WORDS)] for byte in range(256))
_DONE = b"data: [DONE]\n\n"


class Stamp(msgspec.Struct, frozen=True):
    """What differs between two answers to the same question."""

    number: int
    created: int
    output_tokens: int


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """Return OpenAI's error envelope."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return _encode({"error": error})


def bad_ask_body(bad: BadAsk) -> bytes:
    """Return the error envelope of a request that cannot be answered."""
    return error_body(bad.message, "invalid_request_error", bad.param, bad.code)


def words_of(ask: Ask, count: int) -> list[str]:
    """Return the answer to a prompt, one word a token; always the same."""
    prompt = "\n".join(ask.texts).encode()
    return [_WORD_OF_BYTE[byte] for byte in hashlib.shake_128(prompt).digest(count)]


def prompt_chance(ask: Ask) -> float:
    """Return a number u with 0 < u < 1 that depends on the prompt alone."""
    digest = hashlib.blake2b(ask.body, digest_size=7).digest()
    return (int.from_bytes(digest) // 16 + 0.5) / (1 << 52)


def whole(ask: Ask, stamp: Stamp, models: tuple[str, ...]) -> bytes:
    """Return the body of a complete answer."""
    if ask.kind == "echo":
        return ask.body or b"{}"
    if ask.kind == "models":
        return _encode(_models(models))
    return _encode(_WHOLE[ask.kind](ask, stamp))


def _models(names: tuple[str, ...]) -> Fields:
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "headrace"}
        for name in names or ("sim",)
    ]
    return {"object": "list", "data": data}


def _usage(ask: Ask, stamp: Stamp) -> Fields:
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": stamp.output_tokens,
        "total_tokens": ask.input_tokens + stamp.output_tokens,
    }


def _finish_reason(ask: Ask, stamp: Stamp) -> str:
    return "length" if stamp.output_tokens == ask.max_tokens else "stop"


def _head(ask: Ask, stamp: Stamp, prefix: str, kind: str) -> Fields:
    return {
        "id": f"{prefix}-{stamp.number:08x}",
        "object": kind,
        "created": stamp.created,
        "model": ask.model,
    }


def _chat(ask: Ask, stamp: Stamp) -> Fields:
    text = " ".join(words_of(ask, stamp.output_tokens))
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": _finish_reason(ask, stamp),
    }
    head = _head(ask, stamp, "chatcmpl", "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(ask, stamp)}


def _completion(ask: Ask, stamp: Stamp) -> Fields:
    choice = {
        "index": 0,
        "text": " ".join(words_of(ask, stamp.output_tokens)),
        "logprobs": None,
        "finish_reason": _finish_reason(ask, stamp),
    }
    head = _head(ask, stamp, "cmpl", "text_completion")
    return {**head, "choices": [choice], "usage": _usage(ask, stamp)}


def _embeddings(ask: Ask, stamp: Stamp) -> Fields:
    data = [
        {"object": "embedding", "index": n, "embedding": _vector(ask, text)}
        for n, text in enumerate(ask.texts)
    ]
    usage = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
    return {"object": "list", "data": data, "model": ask.model, "usage": usage}


def _vector(ask: Ask, text: str) -> list[float] | str:
    size = ask.dimensions
    raw = hashlib.shake_256(text.encode()).digest(size)
    length = sum((byte - 127.5) ** 2 for byte in raw) ** 0.5
    values = [round((byte - 127.5) / length, 6) for byte in raw]
    if ask.base64:
        return base64.b64encode(struct.pack(f"<{size}f", *values)).decode()
    return values


def _response(ask: Ask, stamp: Stamp, status: str = "completed") -> Fields:
    text = " ".join(words_of(ask, stamp.output_tokens))
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "type": "message",
        "id": f"msg_{stamp.number:08x}",
        "status": "completed",
        "role": "assistant",
        "content": [content],
    }
    usage = {
        "input_tokens": ask.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": stamp.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": ask.input_tokens + stamp.output_tokens,
    }
    done = status == "completed"
    return {
        "id": f"resp_{stamp.number:08x}",
        "object": "response",
        "created_at": stamp.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": ask.model,
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if done else None,
    }


_WHOLE: dict[str, Callable[[Ask, Stamp], Fields]] = {
    "chat": _chat,
    "completions": _completion,
    "embeddings": _embeddings,
    "responses": _response,
}


def pieces(ask: Ask, stamp: Stamp) -> list[bytes]:
    """Return a streamed answer as server-sent events, one word an event."""
    if ask.kind == "responses":
        return list(_response_events(ask, stamp))
    return [*_chunk_events(ask, stamp), _DONE]


def _spaced(words: list[str]) -> Iterator[str]:
    for n, word in enumerate(words):
        yield f" {word}" if n else word


def _event(fields: Fields) -> bytes:
    return b"data: " + _encode(fields) + b"\n\n"


def _chunk_events(ask: Ask, stamp: Stamp) -> Iterator[bytes]:
    chat = ask.kind == "chat"
    prefix, kind = (
        ("chatcmpl", "chat.completion.chunk") if chat else ("cmpl", "text_completion")
    )
    head = _head(ask, stamp, prefix, kind)

    def chunk(content: Fields, finish: str | None) -> bytes:
        part = {"delta": content} if chat else {"text": content.get("content", "")}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish}
        return _event({**head, "choices": [choice]})

    if chat:
        yield chunk({"role": "assistant", "content": ""}, None)
    for word in _spaced(words_of(ask, stamp.output_tokens)):
        yield chunk({"content": word}, None)
    yield chunk({}, _finish_reason(ask, stamp))
    if ask.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(ask, stamp)})


def _response_events(ask: Ask, stamp: Stamp) -> Iterator[bytes]:
    number = 0

    def event(kind: str, fields: Fields) -> bytes:
        nonlocal number
        number += 1
        named = {"type": kind, "sequence_number": number - 1, **fields}
        return f"event: {kind}\n".encode() + _event(named)

    where = {
        "item_id": f"msg_{stamp.number:08x}",
        "output_index": 0,
        "content_index": 0,
    }
    begun = _response(ask, stamp, "in_progress")
    yield event("response.created", {"response": begun})
    for word in _spaced(words_of(ask, stamp.output_tokens)):
        fields = {**where, "delta": word, "logprobs": []}
        yield event("response.output_text.delta", fields)
    yield event("response.completed", {"response": _response(ask, stamp)})
