"""Any HTTP API: any method, a query, any body; each 2xx is a success."""

from __future__ import annotations

import msgspec

from headrace.errors import CallError
from headrace.model import NO_COST, Cost, Quota, TokenAccounting, Usage
from headrace.providers.dialects.classify import classify_http
from headrace.providers.dialects.dialect import Headers
from headrace.providers.dialects.quotas import read_quotas
from headrace.wire import HTTP_METHODS, HttpRequest, check_headers, check_path

_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class HttpDialect(msgspec.Struct, frozen=True):
    """Calls of which nothing is known but HTTP."""

    name: str = "http"
    token_accounting: TokenAccounting = "reserved"
    check_paths: tuple[str, ...] = ()

    def auth_headers(self, key: str | None) -> tuple[tuple[str, str], ...]:
        return () if key is None else (("Authorization", f"Bearer {key}"),)

    def check(self, request: HttpRequest) -> str | None:
        if request.method not in HTTP_METHODS:
            return f"method {request.method!r} is none of {', '.join(HTTP_METHODS)}"
        if (allowed := check_path(request.path, query_allowed=True)) is not None:
            return f"url {request.path[:200]!r}: allowed is {allowed}"
        return check_headers(request.headers)

    def describe(self, request: HttpRequest) -> tuple[str, Cost]:
        return "", NO_COST

    def repeatable(self, request: HttpRequest) -> bool:
        return request.method in _REPEATABLE

    def streams(self, request: HttpRequest) -> bool:
        return False

    def usage(self, body: bytes) -> Usage | None:
        return None

    def event_usage(self, data: bytes) -> Usage | None:
        return None

    def classify(
        self, status: int, headers: Headers, body: bytes, now: float
    ) -> CallError:
        return classify_http(status, headers, body, now)

    def quotas(self, headers: Headers, now: float) -> tuple[Quota, ...]:
        return read_quotas(headers, now)


HTTP = HttpDialect()
