"""The small port behind which the HTTP client stands, so that it can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
from multidict import CIMultiDict
from yarl import URL


class Outgoing(msgspec.Struct, frozen=True):
    """A request ready for the wire."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None
    repeatable: bool
    """May it be sent again when it is unknown whether it was carried out?"""


class Incoming(Protocol):
    """An answer whose head has come, and whose body is coming."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers; their names ignore case."""
        ...

    async def chunk(self) -> bytes:
        """Return the next bytes of the body as they came; b"" once, at its end.

        The connection is given back at the end. Whoever stops before it, also by
        cancellation, must call `abort`.

        Raises:
            Interrupted: the connection broke.
        """
        ...

    def abort(self) -> None:
        """Close the connection at once unless the body has ended; idempotent."""
        ...


class Transport(Protocol):
    """Sends requests over connections that it keeps."""

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request and wait for the head of its answer.

        Sets no time limit but that of connecting. On cancellation the connection is
        closed at once, whatever is still to be sent.

        Raises:
            CallError: no answer came; the client's own errors never pass.
        """
        ...

    async def close(self) -> None:
        """Close all connections; idempotent."""
        ...
