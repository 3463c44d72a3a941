"""An HTTP call as a value, what may stand in it, and the bytes a store keeps of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_PATH_CHARS = 8_192

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")  # RFC 3986, 3.4
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")

_CREDENTIALS = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "proxy-authorization",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
    }
)
_OURS = frozenset(  # these decide where a call goes and where it ends
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-client-request-id",
    }
)


class HttpRequest(msgspec.Struct, frozen=True):
    """A call over HTTP, without host and credentials."""

    path: str
    """Path with a leading `/`; with a query where the dialect allows one."""
    body: bytes | None = None
    """JSON as the user wrote it; None sends no body."""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    cacheable: bool = True
    """May an answer that was kept do, and may this one's be kept?"""


def request_of(item: Mapping[str, Any]) -> HttpRequest:
    """Return the request of an item with `url`, `body`, perhaps `method`, `cache`."""
    return HttpRequest(
        item["url"],
        _encode(item["body"]),
        item.get("method", "POST"),
        cacheable=item.get("cache") is not False,
    )


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    cacheable: bool = True


_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(_Stored).decode


def with_model(request: HttpRequest, model: str) -> HttpRequest:
    """Return the request for another model; the rest of the body stays as written.

    Raises:
        ValueError: the body is no JSON object.
    """
    fields = _decode_fields(request.body or b"")
    fields["model"] = msgspec.Raw(_encode(model))
    return msgspec.structs.replace(request, body=_encode(fields))


def encode_request(request: HttpRequest) -> bytes:
    """Return the bytes a store keeps; the body stands in them as it was written."""
    is_plain = request.method == "POST" and not request.headers and request.cacheable
    if is_plain and request.body is not None:
        return b'{"path":%b,"body":%b}' % (_encode(request.path), request.body)
    body = msgspec.UNSET if request.body is None else msgspec.Raw(request.body)
    method, headers = request.method, request.headers
    return _encode(_Stored(request.path, body, method, headers, request.cacheable))


def decode_request(stored: bytes) -> HttpRequest:
    """Return the request that `encode_request` stored.

    Raises:
        ValueError: these bytes are no stored request.
    """
    found = _decode(stored)
    body = None if found.body is msgspec.UNSET else bytes(found.body)
    return HttpRequest(found.path, body, found.method, found.headers, found.cacheable)


def check_path(path: str, *, query_allowed: bool = False) -> str | None:
    """Return what is allowed instead of `path`, or None if it may be called.

    A path that passes cannot leave the configured host or its path prefix.
    """
    if len(path) > MAX_PATH_CHARS:
        return f"at most {MAX_PATH_CHARS} characters"
    bare, mark, query = path.partition("?") if query_allowed else (path, "", "")
    if not _PATH.fullmatch(bare):
        tail = ", and a query" if query_allowed else ""
        return f"a path such as /v1/chat/completions of A-Z a-z 0-9 . _ ~ / -{tail}"
    if "//" in bare or ".." in bare:
        return "a path without // and .."
    if mark and not _QUERY.fullmatch(query):
        return "a query of the characters that RFC 3986 allows, others as %XX"
    return None


def check_headers(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return what is wrong with the first bad header, or None if all may be sent."""
    for name, value in headers:
        if not _NAME.fullmatch(name):
            return f"{name!r} is no header name"
        if name.lower() in _CREDENTIALS:
            return (
                f"{name} is a credential: keys come from the environment or a key file"
            )
        if name.lower() in _OURS:
            return f"{name} is set by headrace itself"
        if not _VALUE.fullmatch(value):
            return f"the value of {name} holds other than printable ASCII characters"
    return None
