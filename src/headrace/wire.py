"""An HTTP call as a value, and the bytes by which a store keeps it."""

from __future__ import annotations

import msgspec


class HttpRequest(msgspec.Struct, frozen=True):
    """A call over HTTP, without host and credentials."""

    path: str
    """Path with a leading `/`; with a query where the dialect allows one."""
    body: bytes | None = None
    """JSON as the user wrote it; None sends no body."""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def encode_request(request: HttpRequest) -> bytes:
    """Return the bytes a store keeps; the body stands in them as it was written."""
    body = msgspec.UNSET if request.body is None else msgspec.Raw(request.body)
    return _encode(_Stored(request.path, body, request.method, request.headers))


def decode_request(stored: bytes) -> HttpRequest:
    """Return the request that `encode_request` stored.

    Raises:
        ValueError: these bytes are no stored request.
    """
    found = _decode(stored)
    body = None if found.body is msgspec.UNSET else bytes(found.body)
    return HttpRequest(found.path, body, found.method, found.headers)
