"""What the gateway answers: the provider's own status, headers and body, as they came."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

from headrace.engine.streaming import close
from headrace.errors import (
    BadReply,
    BudgetSpent,
    CallError,
    ErrorCode,
    Interrupted,
    Overloaded,
    Rejected,
    TimedOut,
    TransientError,
    Unreachable,
    Unserved,
)
from headrace.model import Reply
from headrace.service.errors import ApiError, envelope, error_response
from headrace.service.keydoor import quota_spent
from headrace.service.presence import ClientGone, Presence
from headrace.service.veil import Veil, is_envelope

UPSTREAM_ID = "x-upstream-request-id"
"""The provider's id of the call; `x-request-id` is the service's own."""
_PASSED = frozenset({"retry-after", "retry-after-ms", "x-should-retry", "content-type"})
_PASSED_FAMILIES = ("x-ratelimit-", "anthropic-ratelimit-", "openai-")

_STATUSES: tuple[tuple[type[CallError], int], ...] = (
    (TimedOut, 504),
    (Overloaded, 503),
    (Unreachable, 502),
    (Interrupted, 502),
    (BadReply, 502),
    (TransientError, 502),
    (CallError, 400),
)
"""Of failures to which no provider gave a status; the first that matches counts."""


def whole_answer(reply: Reply) -> Response:
    """Return the answer of a call that succeeded."""
    headers = passed(reply.headers, reply.request_id)
    headers.setdefault("content-type", "application/json")
    return Response(reply.body, reply.status or 200, headers)


def passed(headers: Mapping[str, str] | None, request_id: str | None) -> dict[str, str]:
    """Return the headers of a provider's answer that its client may see."""
    found = {} if request_id is None else {UPSTREAM_ID: request_id}
    for name, value in (headers or {}).items():
        word = name.lower()
        if word in _PASSED or word.startswith(_PASSED_FAMILIES):
            found[word] = value
    return found


def call_refused(error: CallError) -> Response:
    """Return the answer of a call that failed for good.

    A provider's own error passes as it came; what is no envelope is put into one.
    """
    if error.code is ErrorCode.EXPIRED:
        return error_response(as_api_error(error))
    headers = passed(error.headers, error.request_id)
    headers.pop("content-type", None)
    if isinstance(error, TransientError) and error.status != 429:
        # It has been tried as often as may be; the client's own tries would multiply.
        headers.setdefault("x-should-retry", "false")
    status = _status_of(error)
    body = error.body if status == error.status else None
    if body is None or not is_envelope(body):
        body = msgspec.json.encode(envelope(status, error.message, str(error.code)))
    headers["content-type"] = "application/json"
    return Response(body, status, headers)


def as_api_error(error: CallError) -> ApiError:
    """Return the same in our own words, where there is no body to pass on."""
    if error.code is ErrorCode.EXPIRED:  # the client's own limit, so its own error
        final = {"x-should-retry": "false"}
        code = str(ErrorCode.TIMED_OUT)
        return ApiError(408, error.message, code=code, headers=final)
    return ApiError(_status_of(error), error.message, code=str(error.code))


def cut_off(why: str, waited_s: float) -> ApiError:
    """Return the refusal of a call that no endpoint could take."""
    message = f"no endpoint is of use now ({why}), nor was one within {waited_s:g} s"
    headers = {"retry-after": f"{waited_s:g}"}
    return ApiError(503, message, code="upstream_down", headers=headers)


def rejected(error: Rejected) -> ApiError:
    """Return the refusal of a call that was never sent."""
    if isinstance(error, BudgetSpent):
        return quota_spent(str(error))
    headers = {"x-should-retry": "false"}
    status = 404 if isinstance(error, Unserved) else 400
    return ApiError(status, str(error), code=str(error.code), headers=headers)


def _status_of(error: CallError) -> int:
    if error.status is not None and error.status >= 400:
        return error.status
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


class StreamedAnswer(Response):
    """A streamed reply, passed on byte for byte.

    Owns the reply: the call is closed when the stream ends or its client leaves. If it
    breaks off after its beginning, a last event holds the error in the envelope; the
    official clients raise it.

    Args:
        reply: with chunks.
        veil: takes out of an error what the client may not see.
    """

    def __init__(self, reply: Reply, veil: Veil) -> None:
        self._veil = veil
        assert reply.chunks is not None
        self._chunks = reply.chunks
        self.status_code = reply.status or 200
        self.background = None
        headers = passed(reply.headers, reply.request_id)
        headers.setdefault("content-type", "text/event-stream")
        headers.update({"cache-control": "no-store", "x-accel-buffering": "no"})
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            with Presence(receive):
                await send(start)
                async with aclosing(_told(self._chunks, self._veil)) as chunks:
                    async for chunk in chunks:
                        await send(_part(chunk, more=True))
                await send(_part(b"", more=False))
        except ClientGone:
            pass
        finally:
            await close(self._chunks)


async def _told(
    chunks: AsyncIterator[bytes], veil: Veil
) -> AsyncGenerator[bytes, None]:
    """Give the chunks; if they fail, say so in an event of the stream."""
    try:
        async for chunk in chunks:
            yield chunk
    except CallError as error:
        veil.error(error)
        told = envelope(_status_of(error), error.message, str(error.code))
        yield b"\n\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _part(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
