"""One HTTP/1.1 connection to the simulated provider, without a task of its own.

Requests of one connection are served one after the other, in their order; one timer a
request measures its latency. A caller who goes away ends what was being made for him.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import msgspec

from headrace.simulation.asking import Asked
from headrace.simulation.upstream import Upstream
from headrace.simulation.visit import Answer, Fate, Headers, Visit

_LARGEST_BODY = 64 * 1024 * 1024
_MOST_PIPELINED = 64
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    for status in map(int, HTTPStatus)
}
_JSON: Headers = (("content-type", "application/json"),)
_EVENTS: Headers = (
    ("content-type", "text/event-stream"),
    ("transfer-encoding", "chunked"),
)


class Host(Protocol):
    """What a connection needs from its server."""

    upstream: Upstream
    connections: set[Connection]

    def control(self, asked: Asked) -> Answer | None:
        """Answer a request about the server itself; None = it is a call."""
        ...


class Connection(asyncio.Protocol):
    """Parses requests, asks the model what becomes of them, and writes it in time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[tuple[Asked, bool]] = deque()
        self._visit: Visit | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive = True
        self._can_write = True
        self._is_serving = False
        self._is_headless = False
        self._url = b""
        self._authorization = b""
        self._call_id = b""
        self._body: list[bytes] = []
        self._body_size = 0

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self._host.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._host.connections.discard(self)
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._visit is not None:
            self._host.upstream.abort(self._loop.time(), self._visit)
            self._visit = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._give_up(400)
        except httptools.HttpParserError:
            self._give_up(400)

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._serve_next()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._url = self._authorization = self._call_id = b""
        self._body = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"authorization":
                self._authorization = value
            case b"x-api-key" | b"api-key":
                self._authorization = b"Bearer " + value
            case b"x-client-request-id":
                self._call_id = value
            case b"expect" if self._transport is not None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > _LARGEST_BODY:
            self._give_up(413)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        asked = Asked(
            method=self._parser.get_method().decode(),
            path=self._url.decode("latin-1"),
            body=b"".join(self._body),
            authorization=self._authorization.decode("latin-1"),
            call_id=self._call_id.decode("latin-1"),
        )
        self._body = []
        self._pending.append((asked, self._parser.should_keep_alive()))
        if len(self._pending) > _MOST_PIPELINED:
            self._transport.pause_reading()
        self._serve_next()

    # Serving

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """Close the connection unless a call is being served."""
        if self._visit is None and self._transport is not None:
            self._transport.close()

    def _serve_next(self) -> None:
        if self._is_serving:
            return
        self._is_serving = True
        while self._pending and self._is_ready():
            asked, self._keep_alive = self._pending.popleft()
            self._serve(asked)
        self._is_serving = False
        if not self._pending and self._transport is not None:
            self._transport.resume_reading()

    def _is_ready(self) -> bool:
        return (
            self._visit is None
            and self._can_write
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def _serve(self, asked: Asked) -> None:
        self._is_headless = asked.method == "HEAD"
        if self._is_headless:
            asked = msgspec.structs.replace(asked, method="GET")
        control = self._host.control(asked)
        if control is not None:
            self._write(control)
            return
        visit = self._host.upstream.arrive(self._loop.time(), asked)
        if visit.fate is Fate.NO_CONNECTION:
            self.abort()
            return
        self._visit = visit
        visit.on_start = lambda: self._begin(visit)
        if visit.is_started:
            self._begin(visit)

    def _begin(self, visit: Visit) -> None:
        if visit.fate is Fate.HANG:
            return
        if visit.is_streamed:
            self._begin_stream(visit)
        else:
            self._after(visit.service_s, lambda: self._end(visit))

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        if seconds > 0:
            self._timer = self._loop.call_later(seconds, then)
        else:
            then()

    def _end(self, visit: Visit) -> None:
        answer = self._host.upstream.finish(self._loop.time(), visit)
        self._visit = self._timer = None
        if visit.fate is Fate.DROP_BEFORE:
            self.abort()
        elif visit.fate is Fate.DROP_WITHIN:
            self._write(answer, sent_share=0.5)
        else:
            self._write(answer)
        self._serve_next()

    # Streams

    def _begin_stream(self, visit: Visit) -> None:
        now = self._loop.time()
        events = deque(self._host.upstream.pieces(now, visit))
        if visit.fate is Fate.DROP_WITHIN:
            events = deque(list(events)[: max(1, len(events) // 2)])
        pause_s = visit.service_s / len(events)
        headers = self._host.upstream.headers(now, visit) + _EVENTS

        def send_next() -> None:
            nonlocal headers
            if headers:
                self._write_head(200, headers)
                headers = ()
            event = events.popleft()
            self._send(b"%x\r\n%b\r\n" % (len(event), event))
            if events:
                self._after(pause_s, send_next)
            else:
                self._end_stream(visit)

        self._after(pause_s, send_next)

    def _end_stream(self, visit: Visit) -> None:
        self._host.upstream.finish(self._loop.time(), visit)
        self._visit = self._timer = None
        if visit.fate is Fate.DROP_WITHIN:
            self._close()
            return
        self._send(b"0\r\n\r\n")
        if not self._keep_alive:
            self._close()
        self._serve_next()

    # Writing

    def _write(self, answer: Answer, *, sent_share: float = 1.0) -> None:
        """Write an answer; with a `sent_share` below 1 break off within its body."""
        sent = answer.body[: int(len(answer.body) * sent_share)]
        length = ("content-length", str(len(answer.body)))
        headers = (*_JSON, length, *answer.headers)
        self._write_head(answer.status, headers, b"" if self._is_headless else sent)
        if sent_share < 1 or not self._keep_alive:
            self._close()

    def _write_head(self, status: int, headers: Headers, body: bytes = b"") -> None:
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
        if not self._keep_alive:
            headers += (("connection", "close"),)
        text = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._send(line + text.encode("latin-1") + b"\r\n" + body)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _give_up(self, status: int) -> None:
        self._keep_alive = False
        self._write(Answer(status, (), b"{}"))
