"""What becomes of the HTTP client's own errors; the only place that knows them."""

from __future__ import annotations

import aiohttp
from yarl import URL

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ErrorCode,
    Interrupted,
    PermanentError,
    TimedOut,
    Unreachable,
)

MAX_DETAIL_CHARS = 300


def translate(error: Exception, url: URL) -> CallError:
    """Return the call error that stands for what aiohttp raised.

    The order matters: the errors of connecting, after which nothing was sent, are
    kinds of the errors of a broken connection.
    """
    where = f"{url.host}:{url.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return PermanentError(
                f"{where} shows a certificate that is not trusted: {_detail(error)}",
                code=ErrorCode.CONNECT_FAILED,
            )
        case aiohttp.ConnectionTimeoutError():
            return Unreachable(f"no connection to {where} within the time limit")
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(
                f"the name {url.host} cannot be resolved; check --base-url"
            )
        case aiohttp.ClientConnectorError():
            return Unreachable(f"no connection to {where}: {_detail(error.os_error)}")
        case aiohttp.ClientPayloadError():
            return Interrupted(f"{where} broke the connection within the answer")
    return _translate_sent(error, where)


def _translate_sent(error: Exception, where: str) -> CallError:
    match error:
        case aiohttp.ClientResponseError():
            return BadReply(f"{where} answered with no valid HTTP: {_detail(error)}")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return BadCall(f"the address cannot be called: {_detail(error)}")
        case TimeoutError():
            return TimedOut(f"{where} did not answer in time")
        case aiohttp.ClientConnectionError() | OSError():
            return Interrupted(f"{where} broke the connection before the answer")
        case ValueError():
            return BadCall(f"the request cannot be put into HTTP: {_detail(error)}")
    return Interrupted(f"the call to {where} failed: {_detail(error)}")


def _detail(error: BaseException) -> str:
    text = getattr(error, "message", "") or str(error) or type(error).__name__
    return " ".join(str(text).split())[:MAX_DETAIL_CHARS]
