"""OpenAI's Batch API: `/batches`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from headrace.errors import NotFound, WrongState
from headrace.service.auth import demand, principal
from headrace.service.core import Service
from headrace.service.documenting import refusals
from headrace.service.errors import ApiError, body_refusal
from headrace.service.openai.batch import Batch
from headrace.service.openai.batchbook import new_batch_id
from headrace.service.openai.batchdocs import (
    ID,
    BatchObject,
    BatchPage,
    BatchRequest,
)
from headrace.service.openai.batchkeeper import Batches, NewBatch
from headrace.service.openai.batchviews import batch_view, list_view
from headrace.service.principal import Principal
from headrace.service.repeats import is_repeat, request_key
from headrace.service.sifting import SiftingRouter

_ID = re.compile(ID)
_ONE = {"model": BatchObject, "description": "The batch."}
_PAGE = {"model": BatchPage, "description": "Some batches, newest first."}


class OpenAiRoute(APIRoute):
    """Answers a request of another form with 400 and the field, as OpenAI does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with its refusals in OpenAI's words."""
        handle = super().get_route_handler()

        async def refusing(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise _invalid(request, error) from error

        return refusing


router = SiftingRouter(tags=["batches"], route_class=OpenAiRoute)
Who = Annotated[Principal, Depends(principal)]


@router.post("/batches", responses={200: _ONE, **refusals(400, 401, 403, 404)})
async def create_batch(request: Request, who: Who, body: BatchRequest) -> Response:
    """Begin a batch of the lines of an uploaded file."""
    demand(who, "submit")
    key = request_key(_whose(who), "/batches", await request.body())
    id = await _former(request, key)
    if id is None:
        await _service(request).door.expect_money(who)
        await _expect_input(request, who, body.input_file_id)
        id = await _new_id(request, key)
    after = body.output_expires_after
    new = NewBatch(
        body.input_file_id,
        body.endpoint,
        body.completion_window,
        body.metadata,
        body.priority,
        None if after is None else after.seconds,
        key_id=who.key_id,
    )
    return _answer(await _batches(request).create(new, who.tenant, id))


@router.get("/batches", responses={200: _PAGE, **refusals(400, 401, 403, 404)})
async def list_batches(
    request: Request,
    who: Who,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List batches, newest first; `after` is the id of the one to go on after."""
    demand(who, "read")
    if after is not None and not _ID.match(after):
        raise _no_batch(after, "after")
    try:
        found, has_more = await _batches(request).list(who.sees, after, limit)
    except NotFound:
        raise _no_batch(after or "", "after") from None
    return JSONResponse(list_view(found, has_more=has_more))


@router.get("/batches/{batch_id}", responses={200: _ONE, **refusals(401, 403, 404)})
async def retrieve_batch(request: Request, who: Who, batch_id: str) -> Response:
    """Return a batch, its counts as they are now."""
    demand(who, "read")
    return await _one(_batches(request).get, batch_id, who)


@router.post(
    "/batches/{batch_id}/cancel",
    responses={200: _ONE, **refusals(401, 403, 404, 409)},
)
async def cancel_batch(request: Request, who: Who, batch_id: str) -> Response:
    """Begin to cancel a batch; what has an answer keeps it."""
    demand(who, "submit")
    return await _one(_batches(request).cancel, batch_id, who)


@router.post(
    "/batches/{batch_id}/retry",
    responses={200: _ONE, **refusals(401, 403, 404, 409)},
)
async def retry_batch(request: Request, who: Who, batch_id: str) -> Response:
    """Make a new batch of the lines of an ended one that have no answer."""
    demand(who, "submit")
    batches = _batches(request)
    key = request_key(_whose(who), f"/batches/{batch_id}/retry", b"")
    former = await _former(request, key)
    if former is None:
        await _service(request).door.expect_money(who)

    async def act(id: str, tenant: str | None) -> Batch:
        if former is not None and await batches.is_known(former):
            return await batches.get(former, tenant)
        new_id = former or await _new_id(request, key)
        return await batches.retry(id, tenant, new_id, who.key_id)

    return await _one(act, batch_id, who)


async def _one(
    act: Callable[[str, str | None], Awaitable[Batch]], id: str, who: Principal
) -> Response:
    """Answer with the batch that an act on one returns."""
    if not _ID.match(id):
        raise _no_batch(id, "batch_id")
    try:
        return _answer(await act(id, who.sees))
    except NotFound as error:
        raise ApiError(404, str(error), param="batch_id") from None
    except WrongState as error:
        # The official clients would send a 409 again three times; it cannot help.
        headers = {"x-should-retry": "false"}
        raise ApiError(409, str(error), headers=headers) from None


def _whose(who: Principal) -> str:
    return f"{who.key_id}/{who.tenant}"


async def _former(request: Request, key: str) -> str | None:
    """Return the id that this request was given when it came before, if it did."""
    if not is_repeat(request.headers):
        return None
    return await _service(request).repeats.former(key)


async def _new_id(request: Request, key: str) -> str:
    """Return an id for what this request makes; if it comes again, it gets the same."""
    id = new_batch_id()
    await _service(request).repeats.note(key, id)
    return id


async def _expect_input(request: Request, who: Principal, file_id: str) -> None:
    purpose = None
    if _ID.match(file_id):
        purpose = await _batches(request).purpose(file_id, who.tenant)
    if purpose is None:
        message = f"No such File object: {file_id[:64]}"
        raise ApiError(404, message, code="file_not_found", param="input_file_id")
    if purpose != "batch":
        message = f"File {file_id} has the purpose '{purpose}'; it must be 'batch'."
        raise ApiError(400, message, code="invalid_purpose", param="input_file_id")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _batches(request: Request) -> Batches:
    return _service(request).batches


def _answer(batch: Batch) -> JSONResponse:
    return JSONResponse(batch_view(batch))


def _no_batch(id: str, param: str) -> ApiError:
    return ApiError(404, f"No batch found with id '{id[:64]}'.", param=param)


def _invalid(request: Request, error: RequestValidationError) -> ApiError:
    first: dict[str, Any] = error.errors()[0]
    if (refusal := body_refusal(request, first)) is not None:
        return refusal
    _, *path = first["loc"] or ("body",)
    param = ".".join(str(part) for part in path) or None
    if first["type"] == "missing":
        message = f"Missing required parameter: '{param or 'body'}'."
        return ApiError(400, message, code="missing_required_parameter", param=param)
    message = f"Invalid value for '{param or 'body'}': {first['msg']}."
    return ApiError(400, message, code="invalid_value", param=param)
