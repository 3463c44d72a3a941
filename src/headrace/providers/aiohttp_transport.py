"""The HTTP client: aiohttp, one session for each event loop."""

from __future__ import annotations

import asyncio
import socket
from contextvars import ContextVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import AddrInfoType, Connection
from multidict import CIMultiDictProxy

from headrace.providers.transport import Incoming, Outgoing
from headrace.providers.wire_errors import translate

MAX_HEAD_FIELD_BYTES = 65_536
"""Some gateways answer with headers above aiohttp's 8 KiB."""
_NEVER_CEIL_S = 1e9
"""aiohttp rounds longer time limits up to whole seconds, which would be unfair here."""
_SLICE_BYTES = 262_144
_SKIP_TYPE = ("Content-Type",)


class _Opening:
    """Whether a call got a new connection."""

    __slots__ = ("is_new",)

    def __init__(self) -> None:
        self.is_new = False


_opening: ContextVar[_Opening] = ContextVar("headrace_opening")
"""Set by each call in its own context; the socket factory marks it."""


class AiohttpTransport:
    """Sends over aiohttp; made outside a loop or in it, used from any number of loops.

    A reused connection that breaks before the answer's first byte says nothing about
    the endpoint: a server may close an idle connection at any moment. A repeatable
    request is then sent again at once, on a connection of its own.

    Args:
        connect_timeout_s: limit of name look-up, connecting and TLS together.
        send_timeout_s: how long sent bytes may stay unacknowledged before the
            connection counts as dead.
    """

    def __init__(
        self, *, connect_timeout_s: float = 10.0, send_timeout_s: float = 30.0
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect_timeout_s, ceil_threshold=_NEVER_CEIL_S
        )
        self._send_timeout_s = send_timeout_s
        self._sessions: dict[asyncio.AbstractEventLoop, _Sessions] = {}

    async def send(self, request: Outgoing) -> Incoming:
        loop = asyncio.get_running_loop()
        sessions = self._sessions.get(loop)
        if sessions is None:
            sessions = await self._open(loop)
        opening = _Opening()
        _opening.set(opening)
        try:
            return await _send(sessions.keeping, request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if opening.is_new or not (request.repeatable and _is_stale(error)):
                raise translate(error, request.url) from error
        try:
            return await _send(sessions.single(), request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(error, request.url) from error

    async def close(self) -> None:
        """Close the connections of this loop, and forget loops that have ended."""
        here = asyncio.get_running_loop()
        for loop in list(self._sessions):
            if loop is here or loop.is_closed():
                await self._sessions.pop(loop).close()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _Sessions:
        for old in list(self._sessions):
            if old.is_closed():
                await self._sessions.pop(old).close()
        # Another call may have been faster.
        return self._sessions.setdefault(
            loop, _Sessions(self._timeout, self._send_timeout_s)
        )


class _Sessions:
    """The two sessions of one loop: one keeps its connections, one does not."""

    def __init__(self, timeout: aiohttp.ClientTimeout, send_timeout_s: float) -> None:
        self._timeout = timeout
        self._send_timeout_s = send_timeout_s
        self._single: aiohttp.ClientSession | None = None
        self.keeping = self._session(force_close=False)

    def single(self) -> aiohttp.ClientSession:
        """Return the session that makes a new connection for each call."""
        if self._single is None:
            self._single = self._session(force_close=True)
        return self._single

    async def close(self) -> None:
        await self.keeping.close()
        if self._single is not None:
            await self._single.close()

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # the gate bounds calls
            force_close=force_close,
            timeout_ceil_threshold=_NEVER_CEIL_S,
            socket_factory=self._socket,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy or .netrc would decide where keys go
            auto_decompress=False,  # unbounded
            max_line_size=MAX_HEAD_FIELD_BYTES,
            max_field_size=MAX_HEAD_FIELD_BYTES,
            response_class=_Response,
        )
        # aiohttp sends a GET again by itself, on new connections too, which no limit
        # would see; there is no public switch.
        session._retry_connection = False  # noqa: SLF001
        return session

    def _socket(self, address: AddrInfoType) -> socket.socket:
        opening = _opening.get(None)
        if opening is not None:
            opening.is_new = True
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            limit_ms = int(self._send_timeout_s * 1000)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        return made


async def _send(session: aiohttp.ClientSession, request: Outgoing) -> Incoming:
    body = request.body
    data = _Body(body) if body is not None and len(body) > _SLICE_BYTES else body
    response = await session.request(
        request.method,
        request.url,
        data=data,
        headers=request.headers,
        skip_auto_headers=_SKIP_TYPE if body is None else None,
        allow_redirects=False,
    )
    return _Incoming(response)


def _is_stale(error: Exception) -> bool:
    """Did the connection break before the first byte of an answer?"""
    match error:
        case aiohttp.ServerDisconnectedError():
            return isinstance(error.message, str)  # else it holds half an answer
        case aiohttp.ClientConnectorError() | TimeoutError():
            return False
    return isinstance(error, aiohttp.ClientConnectionError)


class _Incoming:
    """aiohttp's response behind our port."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: CIMultiDictProxy[str] = response.headers

    async def chunk(self) -> bytes:
        response = self._response
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise translate(error, response.url) from error

    def abort(self) -> None:
        response = self._response
        _abort(response.connection)
        response.close()


class _Response(ClientResponse):
    """A response whose connection is cut at once when waiting for its head fails.

    aiohttp's own close first waits for what is still to be sent, which takes for ever
    when the server has stopped reading.
    """

    async def start(self, connection: Connection) -> ClientResponse:
        try:
            return await super().start(connection)
        except BaseException:
            _abort(connection)
            raise


def _abort(connection: Connection | None) -> None:
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class _Body(aiohttp.Payload):
    """A large body, sent in slices so that the loop is never held up for long."""

    _autoclose = True

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._bytes = value
        self._size = len(value)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._bytes.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._bytes)
        for start in range(0, len(view), _SLICE_BYTES):
            await writer.write(view[start : start + _SLICE_BYTES])
