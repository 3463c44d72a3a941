"""Who asks: read from the key of a request."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from headrace.service.errors import ApiError
from headrace.service.loopback import refuse_web_pages
from headrace.service.principal import LOCAL, Principal, Scope


async def principal(request: HTTPConnection) -> Principal:
    """Return who asks.

    A service without keys listens on loopback only, and whoever reaches it may do all.

    Raises:
        ApiError: 403, for web pages that try to reach it.
    """
    refuse_web_pages(request)
    return LOCAL


def demand(who: Principal, scope: Scope) -> None:
    """Refuse who may not do this.

    Raises:
        ApiError: 403.
    """
    if not who.may(scope):
        raise ApiError(
            403,
            f"this key may not do this; it needs the scope {scope!r}",
            code="missing_scope",
        )
