"""One connection of a client: how much it may send before a request, and how slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.config import ServeSettings
from headrace.service.errors import envelope


def connection_class(settings: ServeSettings) -> type[asyncio.Protocol]:
    """Return the class of the connections of a server with these settings.

    A connection that sends no whole head within `client_timeout` is closed (408), as is
    one with a head above `max_header_bytes` (431), and one that does not read what it
    is sent for `client_timeout`; beyond `max_connections` a new one is refused (503).
    uvicorn itself bounds none of these.
    """

    class Connection(LimitedConnection):
        limits = settings

    return Connection


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection with the limits that it lacks; see `connection_class`."""

    limits: ServeSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._stuck_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, "as many connections are open as may")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what has been sent: wait, but not for ever."""
        super().pause_writing()
        self._stuck_timer = self.loop.call_later(
            self.limits.client_timeout, self.transport.abort
        )

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        # What came with the last piece of a head may be of its body: it is cut short.
        if self._in_head and self._head_bytes > self.limits.max_header_bytes:
            most = self.limits.max_header_bytes
            self._refuse(431, f"the headers are larger than the {most} bytes allowed")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(
            self.limits.client_timeout, self._too_slow
        )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "no whole request came in time")

    def _refuse(self, status: int, message: str) -> None:
        """Answer without a request, and close."""
        self._stop_timer()
        body = msgspec.json.encode(envelope(status, message))
        self.transport.write(
            b"HTTP/1.1 %d \r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the envelope, too."""
        self._refuse(400, msg)
