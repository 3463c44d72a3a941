"""What the dialects of LLM APIs have in common; they differ in how the key is sent."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.errors import CallError
from headrace.model import Cost, Quota, TokenAccounting, Usage
from headrace.providers.dialects.classify import classify_llm
from headrace.providers.dialects.dialect import Headers
from headrace.providers.dialects.estimate import describe_body
from headrace.providers.dialects.quotas import read_quotas
from headrace.providers.dialects.usage import read_event_usage, read_usage
from headrace.wire import HttpRequest, check_headers, check_path


class _Streaming(msgspec.Struct):
    stream: bool | None = None


_MODELS = "/v1/models"
"""The one thing that is read, not asked."""

_decode_streaming = msgspec.json.Decoder(_Streaming).decode


class LlmDialect(msgspec.Struct, frozen=True):
    """Calls of a model: a POST with a JSON object, answered by a JSON object.

    `GET /v1/models` lists what may be called.
    """

    name: str
    auth: Callable[[str | None], tuple[tuple[str, str], ...]]
    token_accounting: TokenAccounting = "reserved"
    check_paths: tuple[str, ...] = ()

    def auth_headers(self, key: str | None) -> tuple[tuple[str, str], ...]:
        return self.auth(key)

    def check(self, request: HttpRequest) -> str | None:
        if request.method == "GET" and request.path == _MODELS:
            return check_headers(request.headers)
        if request.method != "POST":
            return (
                f"method {request.method!r}: the {self.name} dialect allows only POST"
            )
        if (allowed := check_path(request.path)) is not None:
            return f"url {request.path[:200]!r}: allowed is {allowed}"
        return check_headers(request.headers)

    def describe(self, request: HttpRequest) -> tuple[str, Cost]:
        return describe_body(request)

    def repeatable(self, request: HttpRequest) -> bool:
        return True

    def streams(self, request: HttpRequest) -> bool:
        if request.body is None or b'"stream"' not in request.body:
            return False
        try:
            return _decode_streaming(request.body).stream is True
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def usage(self, body: bytes) -> Usage | None:
        return read_usage(body)

    def event_usage(self, data: bytes) -> Usage | None:
        return read_event_usage(data)

    def classify(
        self, status: int, headers: Headers, body: bytes, now: float
    ) -> CallError:
        return classify_llm(status, headers, body, now)

    def quotas(self, headers: Headers, now: float) -> tuple[Quota, ...]:
        return read_quotas(headers, now)
