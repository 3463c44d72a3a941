"""Who asks: read from the key of a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from headrace.service.errors import ApiError
from headrace.service.keychores import KeyChores
from headrace.service.keydoor import Door
from headrace.service.keys import Keys
from headrace.service.loopback import refuse_web_pages
from headrace.service.principal import LOCAL, Principal, Scope


async def principal(request: HTTPConnection) -> Principal:
    """Return who asks, and count the request.

    While no key was ever made the service listens on loopback only, and whoever reaches
    it may do all.

    Raises:
        ApiError: 401 without a good key; 403 for web pages that try to reach a service
            without keys; 429 if the key asks too often.
    """
    keys: Keys = request.app.state.service.keys
    if not await keys.are_any():
        refuse_web_pages(request)
        return LOCAL
    key = await keys.verify(_bearer(request))
    if key is None:
        raise _unauthorised(
            "this API key is not known, or it was revoked or has expired"
        )
    who = key.principal
    door: Door = request.app.state.service.door
    door.count_request(who)
    chores: KeyChores = request.app.state.service.chores
    chores.note_use(who.key_id)
    return who


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


async def may_submit(who: Annotated[Principal, Depends(principal)]) -> Principal:
    """Return who asks, if it may make things."""
    demand(who, "submit")
    return who


async def may_read(who: Annotated[Principal, Depends(principal)]) -> Principal:
    """Return who asks, if it may look at things."""
    demand(who, "read")
    return who


async def may_admin(who: Annotated[Principal, Depends(principal)]) -> Principal:
    """Return who asks, if it may administer."""
    demand(who, "admin")
    return who


Submitter = Annotated[Principal, Depends(may_submit)]
Reader = Annotated[Principal, Depends(may_read)]
Admin = Annotated[Principal, Depends(may_admin)]


def _bearer(request: HTTPConnection) -> str:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise _unauthorised(
            "no API key was given; send it as `Authorization: Bearer hr_…`"
        )
    return text.strip()


def _unauthorised(message: str) -> ApiError:
    headers = {"www-authenticate": "Bearer"}
    return ApiError(401, message, code="invalid_api_key", headers=headers)
