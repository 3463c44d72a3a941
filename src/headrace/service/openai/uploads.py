"""OpenAI's Uploads API: `/uploads`, for files that come in parts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from headrace.errors import NotFound
from headrace.service.auth import demand, principal
from headrace.service.core import Service
from headrace.service.documenting import refusals
from headrace.service.errors import ApiError
from headrace.service.openai.batches import OpenAiRoute
from headrace.service.openai.files import file_view
from headrace.service.openai.multipart import UploadForm
from headrace.service.openai.purposes import check_name, kept_by_default_s
from headrace.service.openai.uploaddocs import (
    PART,
    UploadCompletion,
    UploadObject,
    UploadPartObject,
    UploadRequest,
)
from headrace.service.openai.uploadstore import (
    PENDING_S,
    Part,
    Upload,
    new_part_id,
    new_upload_id,
)
from headrace.service.principal import Principal
from headrace.service.repeats import is_repeat, request_key
from headrace.service.sifting import SiftingRouter

router = SiftingRouter(tags=["uploads"], route_class=OpenAiRoute)
Who = Annotated[Principal, Depends(principal)]
_ONE = {"model": UploadObject, "description": "The upload."}
_PART = {"model": UploadPartObject, "description": "The part."}


@router.post("/uploads", responses={200: _ONE, **refusals(400, 401, 403, 413, 503)})
async def create_upload(request: Request, who: Who, body: UploadRequest) -> Response:
    """Begin a file that comes in parts."""
    demand(who, "submit")
    check_name(body.purpose, body.filename)
    _expect_allowed(request, body.bytes)
    service = _service(request)
    key = request_key(_whose(who), "/uploads", await request.body())
    former = await service.repeats.former(key) if is_repeat(request.headers) else None
    id = former or new_upload_id()
    if former is None:
        await service.repeats.note(key, id)
    now, after = int(service.clock.utc()), body.expires_after
    kept_s = kept_by_default_s(body.purpose) if after is None else after.seconds
    new = Upload(
        id,
        who.tenant,
        body.filename,
        body.purpose,
        body.bytes,
        kept_s,
        created_at=now,
        expires_at=now + PENDING_S,
    )
    return await _answer(request, await service.uploads.begin(new))


@router.post(
    "/uploads/{upload_id}/parts",
    responses={200: _PART, **refusals(400, 401, 403, 404, 409, 413, 415, 503)},
    openapi_extra=PART,
)
async def add_upload_part(request: Request, who: Who, upload_id: str) -> Response:
    """Add some bytes; parts may come in any order, and several at once."""
    demand(who, "submit")
    uploads = _service(request).uploads
    try:
        await uploads.get(upload_id, who.sees)
        form = UploadForm(request.headers.get("content-type", ""), "data")
        chunks = form.file_bytes(request.stream())
        part = await uploads.add(upload_id, new_part_id(), who.sees, chunks)
    except NotFound as error:
        raise _no_upload(error) from None
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it
    former = await _former(request, form, who, part)
    if former is not None:
        await uploads.forget(part)
    return JSONResponse(_part_view(former or part))


@router.post(
    "/uploads/{upload_id}/complete",
    responses={200: _ONE, **refusals(400, 401, 403, 404, 409, 503)},
)
async def complete_upload(
    request: Request, who: Who, upload_id: str, body: UploadCompletion
) -> Response:
    """Put the parts together: `file` of the answer is ready to be used."""
    demand(who, "submit")
    uploads = _service(request).uploads
    try:
        done = await uploads.complete(upload_id, who.sees, body.part_ids, body.md5)
    except NotFound as error:
        raise _no_upload(error) from None
    return await _answer(request, done)


@router.post(
    "/uploads/{upload_id}/cancel",
    responses={200: _ONE, **refusals(401, 403, 404, 409, 503)},
)
async def cancel_upload(request: Request, who: Who, upload_id: str) -> Response:
    """Forget the parts of an upload; it takes no more."""
    demand(who, "submit")
    try:
        gone = await _service(request).uploads.cancel(upload_id, who.sees)
    except NotFound as error:
        raise _no_upload(error) from None
    return await _answer(request, gone)


async def _former(
    request: Request, form: UploadForm, who: Principal, part: Part
) -> Part | None:
    """Return the part that these bytes made before, if a client repeats them."""
    service = _service(request)
    path = f"/uploads/{part.upload_id}/parts"
    key = request_key(_whose(who), path, form.digest.digest())
    if is_repeat(request.headers):
        id = await service.repeats.former(key)
        former = await service.uploads.part(part.upload_id, id) if id else None
        if former is not None:
            return former
    await service.repeats.note(key, part.id)
    return None


async def _answer(request: Request, upload: Upload) -> Response:
    file = await _service(request).uploads.file_of(upload)
    view = {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": None if file is None else file_view(file),
    }
    return JSONResponse(view)


def _part_view(part: Part) -> dict[str, Any]:
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": part.created_at,
        "upload_id": part.upload_id,
    }


def _expect_allowed(request: Request, size: int) -> None:
    most = _service(request).settings.max_file_bytes
    if most is not None and size > most:
        message = f"A file has at most {most} bytes here; this one would have {size}."
        raise ApiError(413, message, code="body_too_large", param="bytes")


def _whose(who: Principal) -> str:
    return f"{who.key_id}/{who.tenant}"


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _no_upload(error: NotFound) -> ApiError:
    return ApiError(404, str(error), param="upload_id")
