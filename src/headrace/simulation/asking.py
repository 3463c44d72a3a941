"""What a caller asks of the simulated provider: path and body, understood."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

Kind = Literal["chat", "completions", "embeddings", "responses", "models", "echo"]

_PATHS: dict[str, tuple[Kind, str]] = {
    "/chat/completions": ("chat", "POST"),
    "/completions": ("completions", "POST"),
    "/embeddings": ("embeddings", "POST"),
    "/responses": ("responses", "POST"),
    "/models": ("models", "GET"),
}
_INPUT_KEY = {
    "chat": "messages",
    "completions": "prompt",
    "embeddings": "input",
    "responses": "input",
}
_BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English: a token is about four characters."""


class Asked(msgspec.Struct, frozen=True):
    """One HTTP request as it arrived."""

    method: str
    path: str
    body: bytes = b""
    authorization: str = ""
    call_id: str = ""
    """The `X-Client-Request-Id`."""


class Ask(msgspec.Struct, frozen=True):
    """What is wanted."""

    kind: Kind
    model: str = ""
    texts: tuple[str, ...] = ()
    body: bytes = b""
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    base64: bool = False
    dimensions: int = 16
    input_tokens: int = 0


class BadAsk(msgspec.Struct, frozen=True):
    """Why a request cannot be answered, as OpenAI's error envelope says it."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Message(msgspec.Struct):
    role: str
    content: Any = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message] | None = None
    prompt: Any = None
    input: Any = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    encoding_format: str | None = None
    dimensions: int | None = None

    @property
    def limit(self) -> int | None:
        for value in (
            self.max_completion_tokens,
            self.max_output_tokens,
            self.max_tokens,
        ):
            if value is not None:
                return value
        return None


_decode = msgspec.json.Decoder(_Body).decode


def understand(asked: Asked, *, any_path: bool = False) -> Ask | BadAsk:
    """Say what `asked` wants, or what is wrong with it."""
    path = asked.path.partition("?")[0]
    if path == "/echo":
        return Ask("echo", body=asked.body, input_tokens=_tokens(len(asked.body)))
    kind, method = _PATHS.get(path.removeprefix("/v1"), (None, ""))
    if kind is None:
        if any_path:
            return Ask("echo", body=asked.body, input_tokens=_tokens(len(asked.body)))
        return BadAsk(
            404, f"Unknown request URL: {asked.method} {path}.", code="unknown_url"
        )
    if asked.method != method:
        return BadAsk(405, f"Not allowed to {asked.method} on {path}; use {method}.")
    return Ask(kind) if kind == "models" else _understand_body(kind, asked.body)


def _understand_body(kind: Kind, raw: bytes) -> Ask | BadAsk:
    try:
        body = _decode(raw)
    except msgspec.ValidationError as error:
        return BadAsk(
            400, f"Invalid request: {error}.", _param(str(error)), "invalid_type"
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        return BadAsk(400, "We could not parse the JSON body of your request.")
    key = _INPUT_KEY[kind]
    given = getattr(body, key)
    texts = _chat_texts(given) if kind == "chat" else _texts(given)
    if not texts:
        return BadAsk(
            400,
            f"Missing required parameter: '{key}'.",
            key,
            "missing_required_parameter",
        )
    if body.limit is not None and body.limit < 1:
        return BadAsk(
            400,
            f"Invalid value: {body.limit}; expected a value >= 1.",
            "max_tokens",
            "integer_below_min_value",
        )
    return Ask(
        kind,
        model=body.model,
        texts=texts,
        body=raw,
        max_tokens=body.limit,
        stream=bool(body.stream) and kind != "embeddings",
        include_usage=body.stream_options is not None
        and body.stream_options.include_usage,
        base64=body.encoding_format == "base64",
        dimensions=max(1, min(body.dimensions or 16, 4096)),
        input_tokens=_tokens(sum(len(text.encode()) for text in texts)),
    )


def _param(message: str) -> str | None:
    named = re.search(r"`\$\.?([^`]*)`", message) or re.search(
        r"field `([^`]+)`", message
    )
    return named[1] if named and named[1] else None


def _tokens(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)


def _chat_texts(messages: list[_Message] | None) -> tuple[str, ...]:
    if not messages:
        return ()
    return tuple(" ".join(_texts(message.content)) for message in messages)


def _texts(given: Any) -> tuple[str, ...]:
    """Return the texts of a string, a list of strings, or a list of parts."""
    if isinstance(given, str):
        return (given,) if given else ()
    if not isinstance(given, list):
        return ()
    if given and all(isinstance(part, int) for part in given):
        return (" ".join(map(str, given)),)
    return tuple(_text(part) for part in given)


def _text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        inner = part.get("text") or part.get("content") or ""
        return inner if isinstance(inner, str) else " ".join(_texts(inner))
    return str(part)
