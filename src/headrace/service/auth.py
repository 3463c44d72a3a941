"""Who asks: read from the key of a request."""

from __future__ import annotations

from fastapi import Request

from headrace.service.principal import LOCAL, Principal


async def principal(request: Request) -> Principal:
    """Return who asks.

    A service without keys listens on loopback only, and whoever reaches it may do all.
    """
    return LOCAL
