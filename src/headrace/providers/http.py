"""Calls over HTTP in one of the dialects."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from multidict import CIMultiDict
from yarl import URL

from headrace.clock import Clock, SystemClock
from headrace.errors import BadCall, BadReply, CallError, ConfigError
from headrace.model import Call, Endpoint, Reply
from headrace.providers.addresses import check_base_url, join_url
from headrace.providers.aiohttp_transport import AiohttpTransport
from headrace.providers.bodies import Chunks, more, read_body, read_error_body
from headrace.providers.dialects import Dialect
from headrace.providers.dialects.classify import request_id_of
from headrace.providers.transport import Incoming, Outgoing, Transport
from headrace.wire import HttpRequest, check_headers

DEFAULT_MAX_REPLY_BYTES = 64 * 2**20
_MAX_ADDRESSES = 1_024
"""Addresses kept per endpoint; more only with a query in each."""

Keys = Callable[[Endpoint], str | None]
"""Finds an endpoint's key; called for each try, so keys may change."""


class HttpProvider:
    """Answers a call whose payload is an `HttpRequest`.

    Args:
        dialect: how to ask and to understand the answer.
        keys: where keys are found.
        max_reply_bytes: of a body, before and after decompression.
        connect_timeout_s: limit of connecting; the caller limits the rest.
        transport: the HTTP client.
        clock: to understand dates in headers.
    """

    def __init__(
        self,
        dialect: Dialect,
        keys: Keys,
        *,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
        connect_timeout_s: float = 10.0,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._dialect = dialect
        self._keys = keys
        self._max_reply_bytes = max_reply_bytes
        self._transport: Transport = transport or AiohttpTransport(
            connect_timeout_s=connect_timeout_s
        )
        self._clock = clock or SystemClock()
        self._places: dict[str, _Place] = {}

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        request: HttpRequest = call.payload
        place = self._place(endpoint)
        key = place.key
        outgoing = Outgoing(
            request.method,
            place.url(request),
            place.headers(request, f"{call.id}-{call.trace.tries}"),
            request.body,
            call.repeatable,
        )
        try:
            incoming = await self._transport.send(outgoing)
            if 200 <= incoming.status < 300:
                return await self._success(request, incoming)
            raise await self._failure(incoming)
        except CallError as error:
            if key:
                _hide(error, key)
            raise

    async def look(self, endpoint: Endpoint, path: str) -> tuple[int, bytes]:
        """Ask an endpoint if it is well, with its key; return status and body's start.

        Args:
            endpoint: whom.
            path: one of the dialect's `check_paths`.

        Raises:
            CallError: no answer came.
            ConfigError: its address, headers or key are refused.
        """
        place = self._place(endpoint)
        incoming = await self._transport.send(place.look(path))
        return incoming.status, await read_error_body(incoming)

    async def close(self) -> None:
        """Close all connections; the provider may be used again afterwards."""
        await self._transport.close()

    def _place(self, endpoint: Endpoint) -> _Place:
        key = self._keys(endpoint)
        place = self._places.get(endpoint.name)
        if place is None or place.endpoint is not endpoint or place.key != key:
            place = _Place(endpoint, key, self._dialect)
            self._places[endpoint.name] = place
        return place

    async def _success(self, request: HttpRequest, incoming: Incoming) -> Reply:
        headers = incoming.headers
        quotas = self._dialect.quotas(headers, self._clock.utc())
        reply = Reply(
            status=incoming.status,
            request_id=request_id_of(headers),
            quotas=quotas,
            headers=headers,
        )
        try:
            if self._dialect.streams(request):
                reply.chunks = await self._stream(incoming, reply)
            else:
                body = await read_body(incoming, self._max_reply_bytes)
                reply.usage = self._dialect.usage(body)
                reply.body = body
        except CallError as error:
            error.status = incoming.status
            error.request_id = reply.request_id
            raise
        return reply

    async def _stream(self, incoming: Incoming, reply: Reply) -> Chunks:
        def look(data: bytes) -> None:
            if (told := self._dialect.event_usage(data)) is not None:
                reply.usage = more(reply.usage, told)

        try:
            encoding = incoming.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise BadReply(f"the stream is compressed by {encoding[:40]!r}")
            first = await incoming.chunk()
        except BaseException:
            incoming.abort()
            raise
        if not first:
            raise BadReply("the streamed answer is empty")
        return Chunks(incoming, first, self._max_reply_bytes, look)

    async def _failure(self, incoming: Incoming) -> CallError:
        body = await read_error_body(incoming)
        now = self._clock.utc()
        error = self._dialect.classify(incoming.status, incoming.headers, body, now)
        error.headers = incoming.headers
        return error


class _Place:
    """What is the same for all calls to one endpoint, made once.

    Raises:
        ConfigError: the endpoint's address or headers are refused.
    """

    def __init__(self, endpoint: Endpoint, key: str | None, dialect: Dialect) -> None:
        self.endpoint = endpoint
        self.key = key
        self._base_url = checked_endpoint(endpoint).base_url
        self._dialect = dialect
        self._urls: dict[tuple[str, str], URL] = {}
        self._bare: CIMultiDict[str] = CIMultiDict(
            {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "headrace"}
        )
        self._bare.update(endpoint.headers)
        self._bare.update(dialect.auth_headers(key))
        self._with_body = self._bare.copy()
        self._with_body.setdefault("Content-Type", "application/json")

    def url(self, request: HttpRequest) -> URL:
        """Return the address of a request; no path can leave the endpoint's host.

        Raises:
            BadCall: the dialect refuses the request.
        """
        key = (request.method, request.path)
        url = self._urls.get(key)
        if url is None or request.headers:
            if (fault := self._dialect.check(request)) is not None:
                raise BadCall(fault)
            if len(self._urls) >= _MAX_ADDRESSES:
                self._urls.clear()
            url = URL(join_url(self._base_url, request.path), encoded=True)
            self._urls[key] = url
        return url

    def look(self, path: str) -> Outgoing:
        """Return the request that sees if the endpoint is well."""
        url = URL(join_url(self._base_url, path), encoded=True)
        return Outgoing("GET", url, self._bare.copy(), None, repeatable=True)

    def headers(self, request: HttpRequest, call_id: str) -> CIMultiDict[str]:
        base = self._bare if request.body is None else self._with_body
        headers = base.copy()
        headers["X-Client-Request-Id"] = call_id
        if request.headers:
            headers.update(request.headers)
        return headers


def checked_endpoint(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its address in the usual form.

    Raises:
        ConfigError: its address or headers are refused; names the endpoint.
    """
    try:
        url = check_base_url(endpoint.base_url)
    except ConfigError as error:
        raise ConfigError(f"endpoint {endpoint.name}: {error}") from None
    if (fault := check_headers(endpoint.headers)) is not None:
        raise ConfigError(f"endpoint {endpoint.name}: {fault}")
    return msgspec.structs.replace(endpoint, base_url=url)


def _hide(error: CallError, key: str) -> None:
    """Take the key out of an error; some servers repeat it in theirs."""
    if key in error.message:
        error.message = error.message.replace(key, "***")
        error.args = (error.message,)
    if error.body is not None:
        error.body = error.body.replace(key.encode(), b"***")
