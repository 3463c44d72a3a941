"""Keys made, changed and revoked over HTTP, by keys of scope `admin`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse

from headrace.errors import ConfigError
from headrace.service.admin.keybodies import KeyFields, NewKeyFields
from headrace.service.admin.keyobjects import KeyObject, KeyPage, MadeKey
from headrace.service.auth import Admin
from headrace.service.core import Service
from headrace.service.documenting import answering
from headrace.service.errors import ApiError
from headrace.service.keys import Key, NewKey, asked_budget
from headrace.service.keyviews import key_view
from headrace.service.sifting import SiftingRouter
from headrace.terms import KeyLimits

router = SiftingRouter(prefix="/api/v1/keys", tags=["administration"])
KeyId = Annotated[str, Path(max_length=64, description="As the list shows it.")]


@router.get("", responses=answering(KeyPage))
async def list_keys(request: Request, _: Admin) -> Response:
    """List the keys of all tenants, those revoked as well; never the keys themselves."""
    service = _service(request)
    data = [await _view(service, key) for key in await service.keys.list()]
    return JSONResponse({"object": "list", "data": data})


@router.post("", responses=answering(MadeKey, 400))
async def add_key(request: Request, _: Admin, body: NewKeyFields) -> Response:
    """Make a key; it is shown in `key`, and never again."""
    service, stated = _service(request), body.stated()
    try:
        new = NewKey(
            body.tenant,
            tuple(dict.fromkeys(body.scopes)),
            body.name,
            KeyLimits(body.calls_per_minute, body.tokens_per_minute, body.in_flight),
            body.expires_in_s,
            asked_budget(stated.get("budget_usd"), body.budget_window),
        )
    except ConfigError as error:
        raise _refusal(error) from None
    text, key = await service.keys.make(new)
    return JSONResponse({**await _view(service, key), "key": text})


@router.patch("/{key_id}", responses=answering(KeyObject, 400, 404))
async def change_key(
    request: Request, _: Admin, key_id: KeyId, body: KeyFields
) -> Response:
    """Change the name, limits or budget of a key; what is absent stays, null lifts."""
    service = _service(request)
    try:
        key = await service.keys.change(key_id, body.stated())
    except ConfigError as error:
        raise _refusal(error) from None
    return JSONResponse(await _view(service, key))


@router.delete("/{key_id}", responses=answering(KeyObject, 404))
async def revoke_key(request: Request, _: Admin, key_id: KeyId) -> Response:
    """Let a key be good for nothing more; it stays listed."""
    service = _service(request)
    return JSONResponse(await _view(service, await service.keys.revoke(key_id)))


async def _view(service: Service, key: Key) -> dict[str, Any]:
    use = await service.keybook.use(key.id)
    return key_view(key, use, service.clock.utc())


def _refusal(error: ConfigError) -> ApiError:
    flag, _, rest = str(error).partition(": ")
    param = flag.removeprefix("--").replace("-", "_")
    return ApiError(400, f"{param}: {rest}", code="invalid_value", param=param)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
