"""What every request passes first: its id, and limits on what it may send.

Pure ASGI: FastAPI's own form of middleware costs a task and a queue a request.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.config import ServeSettings
from headrace.service.errors import REQUEST_ID, ApiError, error_response, stopping

_SLOWEST_BYTES_PER_S = 65_536
"""A body that comes faster has longer than `client_timeout`, if it needs it."""
_UPLOADS = re.compile(r"(/v1)?(/files|/uploads/[^/]+/parts)/?|/api/v1/jobs/?")
"""Paths whose bodies are read as they come, and may be large."""


_ENDINGS = "headrace.endings"


def at_end(scope: Scope, ending: Callable[[], None]) -> None:
    """Have something done once a request is answered to its last byte, or has failed."""
    endings: list[Callable[[], None]] = scope[_ENDINGS]
    endings.append(ending)


class Endings:
    """Does what `at_end` was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endings: list[Callable[[], None]] = []
        scope[_ENDINGS] = endings
        try:
            await self._app(scope, receive, send)
        finally:
            for ending in endings:
                ending()


class RequestIds:
    """Gives each request an id, and tells it in `x-request-id` of the answer.

    A request that is cancelled since the service stops is told so, if it was not
    answered yet.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Ids must differ, over restarts too; nobody need be unable to guess one. Chance
        # for each would be a call of the system, which hands the interpreter on.
        self._start = secrets.token_hex(8)
        self._numbers = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{self._start}{next(self._numbers):08x}"
        scope[REQUEST_ID] = request_id
        header = (b"x-request-id", request_id.encode())
        is_answered = False

        async def tell(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except asyncio.CancelledError:
            if is_answered:
                raise
            await error_response(stopping())(scope, receive, tell)


class BodyLimits:
    """Refuses bodies that are too long (413), too slow (408) or packed (415).

    A packed body may grow a thousandfold; no client packs what it sends by itself.

    Args:
        app: what comes next.
        settings: `max_body_bytes`, `max_file_bytes` for uploads, `client_timeout`: the
            seconds for a body (longer while it comes fast), of an upload for each piece.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        is_upload = _UPLOADS.fullmatch(scope["path"]) is not None
        settings = self._settings
        most = settings.max_file_bytes if is_upload else settings.max_body_bytes
        if most is not None and _stated(scope) > most:
            await error_response(_too_large(most))(scope, receive, send)
            return
        packed = _header(scope, b"content-encoding")
        if packed not in (b"", b"identity"):
            await error_response(_packed(packed))(scope, receive, send)
            return
        body = _Body(receive, most, settings.client_timeout, each=is_upload)
        await self._app(scope, body.receive, send)


class _Body:
    """One request's body, as it comes.

    Args:
        receive: the server's.
        most: bytes allowed; None = any.
        timeout_s: for the whole body, or for each piece.
        each: is it for each piece?
    """

    def __init__(
        self, receive: Receive, most: int | None, timeout_s: float, *, each: bool
    ) -> None:
        self._receive = receive
        self._most = most
        self._size = 0
        self._timeout_s = timeout_s
        self._each = each
        self._began_at: float | None = None
        self._is_whole = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        message = await self._in_time()
        if message["type"] != "http.request":
            self._is_whole = True
            return message
        self._is_whole = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._most is not None and self._size > self._most:
            raise _too_large(self._most)
        return message

    async def _in_time(self) -> Message:
        if self._began_at is None or self._each:
            self._began_at = asyncio.get_running_loop().time()
        earned_s = 0.0 if self._each else self._size / _SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout_at(self._began_at + self._timeout_s + earned_s):
                return await self._receive()
        except TimeoutError:
            raise ApiError(
                408,
                f"the body did not come within {self._timeout_s:g} s",
                code="body_too_slow",
                headers={"connection": "close"},
            ) from None


def _stated(scope: Scope) -> int:
    """Return the length that the request states; 0 if it states none."""
    value = _header(scope, b"content-length")
    return int(value) if value.isdigit() else 0


def _header(scope: Scope, wanted: bytes) -> bytes:
    """Return a header of the request; empty if it has none of that name."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


def _packed(encoding: bytes) -> ApiError:
    return ApiError(
        415,
        f"content-encoding: given {encoding[:40].decode('latin-1')!r}, allowed none",
        code="unsupported_encoding",
        headers={"connection": "close"},
    )


def _too_large(most: int) -> ApiError:
    return ApiError(
        413,
        f"the body is larger than the {most} bytes allowed",
        code="body_too_large",
        headers={"connection": "close"},
    )
