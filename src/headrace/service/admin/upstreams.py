"""Which addresses may be called that come in by the admin API.

Whoever steals an admin key must not reach what stands behind the service's firewall.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from headrace.config import ServeSettings
from headrace.service.errors import ApiError
from headrace.service.loopback import is_loopback

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def check_upstream(url: str, settings: ServeSettings) -> None:
    """Refuse an address that the service may not call.

    Loopback is allowed if the service listens on loopback itself; private ranges if
    `private_upstreams` is set; link-local ones never: there clouds keep credentials.

    Raises:
        ApiError: 400; it is none, has no address, or may not be called.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise _refusal(url, "an address such as https://host:8000")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _refusal(url, "a host whose address can be found") from None
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if not _is_allowed(_plain(address), settings):
            allowed = "a public address; private ones if serve.private_upstreams is set"
            raise _refusal(url, allowed)


def _plain(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    return getattr(address, "ipv4_mapped", None) or address


def _is_allowed(address: _Address, settings: ServeSettings) -> bool:
    if address.is_loopback:
        return is_loopback(settings.host)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return address.is_global or settings.private_upstreams


def _refusal(url: str, allowed: str) -> ApiError:
    return ApiError(
        400,
        f"base_url: given {url[:200]!r}, allowed {allowed}",
        code="invalid_value",
        param="base_url",
    )
