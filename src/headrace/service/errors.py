"""What the service refuses, in the envelope that OpenAI's clients read."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from headrace.errors import (
    BeingSubmitted,
    NotFound,
    QueueFull,
    StoreError,
    StoreFull,
    WrongState,
)

_log = logging.getLogger("headrace.service")
Handler = Callable[[Request, Exception], Awaitable[Response]]


class ApiError(Exception):
    """A request that cannot be met.

    Args:
        status: of the HTTP answer, 400 to 599.
        message: for people; never holds a secret.
        code: stable name, such as `file_not_found`; None if there is none.
        param: which field or parameter is wrong.
        headers: to send along, such as `retry-after`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return envelope(self.status, self.message, self.code, self.param)


_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def envelope(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error's body; all four fields are always there."""
    kind = _TYPES.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )
    if code == QUOTA:
        kind = QUOTA  # as OpenAI says it; clients tell it from a rate by this
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


QUOTA = "insufficient_quota"
"""Code of the refusal of what no money is left for."""
REQUEST_ID = "headrace.request_id"
"""Where a request's id stands in its ASGI scope."""


def error_response(error: ApiError) -> JSONResponse:
    """Return the answer that tells of an error."""
    return JSONResponse(error.body, error.status, error.headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer for what the framework refuses: 404, 405, a body it cannot read."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ApiError):  # raised while the body was read
        return error_response(error.__cause__)
    status = error.status_code
    if error.detail == _UNREADABLE:
        return error_response(ApiError(400, _NO_JSON, code="invalid_json"))
    asked = f"{request.method} {request.url.path[:200]}"
    words = {404: f"there is no {asked}", 405: f"not allowed: {asked}"}
    told = str(error.detail)
    message = words.get(status, told) if told in _FRAMEWORKS else told
    headers = error.headers
    if status == 405:
        # The framework names the methods of one route; a path may have several.
        headers = {"allow": ", ".join(_allowed(request.scope))}
    return error_response(
        ApiError(status, message, code=_CODES.get(status), headers=headers)
    )


def _allowed(scope: Scope) -> list[str]:
    """Return all methods that the path of a request answers."""
    asked = {"type": "http", "path": scope["path"], "root_path": "", "headers": []}
    routes = scope["app"].routes
    return [
        method
        for method in METHODS
        if any(
            route.matches({**asked, "method": method})[0] is Match.FULL
            for route in routes
        )
    ]


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer for what does not have the form that the API demands: name the field."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if (refusal := body_refusal(request, first)) is not None:
        return error_response(refusal)
    kind, *path = first["loc"] or ("body",)
    param = ".".join(str(part) for part in path) or None
    message = f"{kind} {param or ''}: {first['msg']}".replace(" :", ":")
    return error_response(ApiError(422, message, code="invalid_value", param=param))


def body_refusal(request: Request, first: Mapping[str, Any]) -> ApiError | None:
    """Return the refusal of a body that is no JSON at all; None if it is some.

    Args:
        request: whose body it is.
        first: what the framework has found wrong first.
    """
    media = request.headers.get("content-type", "")
    if first["type"] == "json_invalid":
        return ApiError(400, _NO_JSON, code="invalid_json")
    if tuple(first["loc"]) == ("body",) and not is_json(media):
        return ApiError(
            415,
            f"content-type: given {media[:80]!r}, allowed application/json",
            code="unsupported_media_type",
        )
    return None


def is_json(content_type: str) -> bool:
    """Does this header of a request say that its body is JSON?"""
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


async def _not_found(_: Request, error: Exception) -> Response:
    return error_response(ApiError(404, str(error), code="not_found"))


async def _wrong_state(_: Request, error: Exception) -> Response:
    # The official clients would send a 409 again three times; it cannot help.
    headers = {"x-should-retry": "false"}
    return error_response(
        ApiError(409, str(error), code="wrong_state", headers=headers)
    )


async def _being_submitted(_: Request, error: Exception) -> Response:
    assert isinstance(error, BeingSubmitted)
    wait_s = str(max(1, math.ceil(error.retry_after_s)))
    headers = {"retry-after": wait_s, "x-should-retry": "true"}
    return error_response(
        ApiError(409, str(error), code="being_submitted", headers=headers)
    )


async def _queue_full(_: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFull)
    return error_response(queue_full(error))


async def _store_failed(_: Request, error: Exception) -> Response:
    headers = {"retry-after": "1"}
    _log.error("the store fails: %s", error)
    message = "the store of this service cannot be used now; nothing is lost"
    return error_response(ApiError(503, message, code="store_error", headers=headers))


async def _store_full(_: Request, error: Exception) -> Response:
    # The official clients would send a large file again three times.
    headers = {"retry-after": "60", "x-should-retry": "false"}
    _log.error("there is no room: %s", error)
    message = (
        "the disk of this service is full; nothing of this request was kept; send it "
        "again when there is room"
    )
    return error_response(ApiError(503, message, code="disk_full", headers=headers))


async def _fault(request: Request, error: Exception) -> Response:
    """Answer for a fault of our own; its traceback goes to the log alone."""
    request_id = request.scope.get(REQUEST_ID, "")
    _log.error(
        "request %s failed by a fault of headrace",
        request_id,
        exc_info=error,
        extra={"request_id": request_id},
    )
    message = f"a fault of headrace itself; its log tells more of request {request_id}"
    headers = {"x-request-id": request_id}
    return error_response(
        ApiError(500, message, code="internal_error", headers=headers)
    )


def queue_full(error: QueueFull) -> ApiError:
    """Return the refusal of what would wait behind too many."""
    headers = {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    return ApiError(429, str(error), code=str(error.code), headers=headers)


def stopping() -> ApiError:
    """Return the refusal of what a service that stops does no more."""
    headers = {"retry-after": "1"}
    return ApiError(503, "the service is stopping", code="stopping", headers=headers)


_NO_JSON = "the body is not valid JSON"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What a path may answer, in the order in which `allow` names them."""
_UNREADABLE = "There was an error parsing the body"
"""FastAPI's words for JSON that is too deep, has too large a number, or is no text."""
_FRAMEWORKS = ("Not Found", "Method Not Allowed")
_CODES = {404: "unknown_url", 405: "method_not_allowed", 413: "body_too_large"}

HANDLERS: Mapping[type[Exception], Handler] = {
    ApiError: _refused,
    HTTPException: _http_error,
    RequestValidationError: _invalid,
    NotFound: _not_found,
    WrongState: _wrong_state,
    BeingSubmitted: _being_submitted,
    QueueFull: _queue_full,
    StoreFull: _store_full,
    StoreError: _store_failed,
    Exception: _fault,
}
"""How each error is answered: always in the envelope."""


async def answer_of(request: Request, error: Exception) -> Response | None:
    """Return the answer that tells of an error; None for a fault of our own."""
    for kind in type(error).__mro__:
        if kind is not Exception and kind in HANDLERS:
            return await HANDLERS[kind](request, error)
    return None
