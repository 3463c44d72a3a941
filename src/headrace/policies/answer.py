"""A reply as bytes that can be kept, and back: a header in JSON, then the body."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
import zstandard

from headrace.model import Reply, Usage
from headrace.policies.fingerprint import plain_json

PACK_FROM_BYTES: Final = 1024
"""Smaller answers are not worth the time (docs/design.md, Store)."""

MAX_ANSWER_BYTES: Final = 64 * 2**20
"""A longer one is not unpacked: what is kept may have been written by others."""

_PLAIN: Final = b"\x00"
_PACKED: Final = b"\x01"


class _Header(msgspec.Struct, array_like=True, frozen=True):
    kind: Literal["bytes", "json"]
    status: int | None = None
    usage: tuple[int, int] | None = None
    request_id: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Header).decode
_decode_value = msgspec.json.Decoder().decode


def encode_answer(reply: Reply) -> bytes | None:
    """Return a reply as bytes; None if it is a stream, or no JSON value.

    A body of bytes comes back as it was, any other as the JSON value that it is.
    """
    if reply.chunks is not None:
        return None
    kind: Literal["bytes", "json"] = "bytes"
    body: bytes | None
    if isinstance(reply.body, bytes):
        body = reply.body
    else:
        kind, body = "json", plain_json(reply.body)
    if body is None or len(body) > MAX_ANSWER_BYTES // 2:
        return None
    usage = reply.usage
    counted = None if usage is None else (usage.input_tokens, usage.output_tokens)
    header = _encode(_Header(kind, reply.status, counted, reply.request_id))
    whole = header + b"\n" + body
    if len(whole) >= PACK_FROM_BYTES:
        packed = zstandard.ZstdCompressor(level=1).compress(whole)
        if len(packed) < len(whole):
            return _PACKED + packed
    return _PLAIN + whole


def decode_answer(kept: bytes) -> Reply | None:
    """Return the reply that `encode_answer` kept; None if these bytes are none."""
    try:
        mark, whole = kept[:1], kept[1:]
        if mark == _PACKED:
            whole = zstandard.ZstdDecompressor().decompress(
                whole, max_output_size=MAX_ANSWER_BYTES
            )
        elif mark != _PLAIN:
            return None
        head, _, body = whole.partition(b"\n")
        header = _decode(head)
        value: Any = body if header.kind == "bytes" else _decode_value(body)
    except (ValueError, zstandard.ZstdError):
        return None
    usage = None if header.usage is None else Usage(*header.usage)
    return Reply(value, usage=usage, status=header.status, request_id=header.request_id)
