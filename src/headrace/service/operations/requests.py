"""Counts the requests that a service answers, and how soon it does."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.clock import Clock
from headrace.service.errors import METHODS

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)
"""Seconds; calls of models take from a tenth of a second to minutes."""
_NONE = "none"
"""The path of what no route answers: users may ask for anything."""


class RequestCounts:
    """Numbers of requests, by the path that answers them.

    Args:
        registry: where they are read.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "headrace_http_requests_total",
            "Requests answered; status 0 = the client went before.",
            ("path", "method", "status"),
            registry=registry,
        )
        self._begun_s = Histogram(
            "headrace_http_response_start_seconds",
            "Seconds from a request until its answer began.",
            ("path",),
            buckets=_BUCKETS,
            registry=registry,
        )

    def count(self, scope: Scope, status: int, took_s: float | None) -> None:
        """Count a request.

        Args:
            scope: as its answer has left it.
            status: of its answer; 0 = none was begun.
            took_s: until it began; None = it was not.
        """
        path = str(getattr(scope.get("route"), "path", _NONE))
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._answered.labels(path, method, str(status)).inc()
        if took_s is not None:
            self._begun_s.labels(path).observe(took_s)


class Counting:
    """Counts each request that passes.

    Args:
        app: what comes next.
        counts: where they are kept.
        clock: time.
    """

    def __init__(self, app: ASGIApp, counts: RequestCounts, clock: Clock) -> None:
        self._app = app
        self._counts = counts
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came_at, status, took_s = self._clock.monotonic(), 0, None

        async def tell(message: Message) -> None:
            nonlocal status, took_s
            if message["type"] == "http.response.start":
                status = message["status"]
                took_s = self._clock.monotonic() - came_at
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            self._counts.count(scope, status, took_s)
