"""What a request to an LLM API will cost, before it is sent."""

from __future__ import annotations

import re

import msgspec

from headrace.model import NO_COST, Cost
from headrace.wire import HttpRequest

DEFAULT_OUTPUT_TOKENS = 256
"""Reserved for an answer whose length the request does not limit."""
CHARS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text."""
ATTACHMENT_TOKENS = 1_000
"""Reserved for an image or file within the body.

Source: OpenAI's guide to vision, a 1024 x 1024 image in high detail: 765 tokens.
"""

_NO_OUTPUT = ("/embeddings", "/moderations", "/rerank")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=_\\-]{1024,}")


class _Asked(msgspec.Struct):
    model: str = ""
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None


_decode = msgspec.json.Decoder(_Asked).decode


def describe_body(request: HttpRequest) -> tuple[str, Cost]:
    """Return the model and the estimated tokens of a request.

    The input counts a token for each four bytes of the body, its JSON included, which
    is rather too much than too little; the output counts the most that the request
    allows. A body that cannot be understood costs as if it set no limit.
    """
    body = request.body
    if body is None:
        return "", NO_COST
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        asked = _Asked()
    return asked.model, Cost(_input_tokens(body), _output_tokens(request.path, asked))


def _input_tokens(body: bytes) -> int:
    if len(body) > 1024 and b"base64" in body:
        text, attachments = _BASE64.subn(b"", body)
        return -(-len(text) // CHARS_PER_TOKEN) + attachments * ATTACHMENT_TOKENS
    return -(-len(body) // CHARS_PER_TOKEN)


def _output_tokens(path: str, asked: _Asked) -> int:
    if path.endswith(_NO_OUTPUT):
        return 0
    most = (
        asked.max_completion_tokens
        or asked.max_output_tokens
        or asked.max_tokens
        or DEFAULT_OUTPUT_TOKENS
    )
    return max(0, most) * max(1, asked.n or 1)
