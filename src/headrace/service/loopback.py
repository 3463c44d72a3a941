"""Whether a request to a service without keys really comes from this machine's user.

A web page, too, runs on this machine. It could send forms to a service on loopback, or
let a name of its own stand for 127.0.0.1 (DNS rebinding), and read what it likes.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from headrace.service.errors import ApiError


def is_loopback(host: str) -> bool:
    """Does this host's name or address stand for this machine alone?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def refuse_web_pages(request: HTTPConnection) -> None:
    """Refuse what a web page of another origin has sent.

    Raises:
        ApiError: 403.
    """
    host = request.headers.get("host", "localhost")
    origin = request.headers.get("origin")
    if not _names_us(host):
        raise _refusal(f"host: given {host[:80]!r}, allowed an address of this machine")
    if origin is not None and urlsplit(origin).netloc != host:
        raise _refusal(f"origin: given {origin[:80]!r}, allowed that of the service")


@lru_cache(maxsize=64)
def _names_us(host: str) -> bool:
    """Is this `Host` of this machine? Asked for each request, nearly always the same."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _refusal(message: str) -> ApiError:
    return ApiError(403, f"{message}, since it has no keys", code="not_from_here")
