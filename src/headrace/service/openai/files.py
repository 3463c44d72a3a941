"""OpenAI's Files API: `/files`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from headrace.errors import NotFound
from headrace.service.auth import demand, principal
from headrace.service.core import Service
from headrace.service.documenting import refusals
from headrace.service.errors import ApiError
from headrace.service.openai.batches import OpenAiRoute
from headrace.service.openai.filecontent import KIND, Asked, content_answer
from headrace.service.openai.filedocs import UPLOAD, FileDeleted, FileObject, FilePage
from headrace.service.openai.filestore import FileFacts, FileStore, new_file_id
from headrace.service.openai.multipart import UploadForm, demanded
from headrace.service.openai.purposes import (
    MAX_KEPT_S,
    MIN_KEPT_S,
    PURPOSES,
    check_name,
    kept_by_default_s,
)
from headrace.service.principal import Principal
from headrace.service.repeats import is_repeat, request_key
from headrace.service.sifting import SiftingRouter

router = SiftingRouter(tags=["files"], route_class=OpenAiRoute)
Who = Annotated[Principal, Depends(principal)]
_ONE = {"model": FileObject, "description": "The file."}


@router.post(
    "/files",
    responses={200: _ONE, **refusals(400, 401, 403, 413, 415, 503)},
    openapi_extra=UPLOAD,
)
async def create_file(request: Request, who: Who) -> Response:
    """Upload a file; its bytes go to disk as they come."""
    demand(who, "submit")
    form = UploadForm(request.headers.get("content-type", ""))
    store, id = _store(request), new_file_id()
    try:
        size = await store.upload(id, who.tenant, _checked(form, request))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it
    try:
        facts = _facts(request, form, id, who.tenant, size)
        former = await _former(request, form, who, facts)
    except BaseException:
        await store.discard(id)
        raise
    if former is not None:
        await store.discard(id)
        return JSONResponse(file_view(former))
    await store.publish(facts)
    return JSONResponse(file_view(facts))


@router.get(
    "/files",
    responses={
        200: {"model": FilePage, "description": "Some files."},
        **refusals(400, 401, 403, 404),
    },
)
async def list_files(
    request: Request,
    who: Who,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """List files, newest first; `after` is the id of the one to go on after."""
    demand(who, "read")
    store = _store(request)
    pick = store.newest if order == "desc" else store.oldest
    try:
        found, has_more = await pick(who.sees, purpose, after, limit)
    except NotFound as error:
        raise ApiError(404, str(error), param="after") from None
    views = [file_view(facts) for facts in found]
    return JSONResponse(
        {
            "object": "list",
            "data": views,
            "first_id": views[0]["id"] if views else None,
            "last_id": views[-1]["id"] if views else None,
            "has_more": has_more,
        }
    )


@router.get("/files/{file_id}", responses={200: _ONE, **refusals(401, 403, 404)})
async def retrieve_file(request: Request, who: Who, file_id: str) -> Response:
    """Return what is known of a file."""
    demand(who, "read")
    return JSONResponse(file_view(await _facts_of(request, who, file_id)))


_BYTES = {KIND: {"schema": {"type": "string", "format": "binary"}, "example": "{}\n"}}
_ALL = {"content": _BYTES, "description": "The bytes of the file."}
_PART = {"content": _BYTES, "description": "The bytes asked for by `range`."}
_HEADERS = {"description": "The headers of its bytes, without them."}
_SAME = {"description": "The client has it already (`if-none-match`)."}
Wanted = Annotated[str | None, Header(description="Such as `bytes=0-1023`.")]
Known = Annotated[str | None, Header(description="An `etag` of before.")]


@router.get(
    "/files/{file_id}/content",
    responses={200: _ALL, 206: _PART, 304: _SAME, **refusals(401, 403, 404, 416, 503)},
    response_class=Response,
)
async def file_content(
    request: Request,
    who: Who,
    file_id: str,
    range: Wanted = None,
    if_range: Known = None,
    if_none_match: Known = None,
) -> Response:
    """Give the bytes of a file as they were uploaded, or as a batch left them.

    `range` asks for a part of them.
    """
    demand(who, "read")
    facts = await _facts_of(request, who, file_id)
    asked = Asked(range, if_range, if_none_match)
    return content_answer(_store(request), facts, asked, is_head=False)


@router.head(
    "/files/{file_id}/content",
    responses={200: _HEADERS, 304: _SAME, **refusals(401, 403, 404)},
    response_class=Response,
)
async def file_content_head(
    request: Request, who: Who, file_id: str, if_none_match: Known = None
) -> Response:
    """Tell how many bytes a file has, and its `etag`."""
    demand(who, "read")
    facts = await _facts_of(request, who, file_id)
    asked = Asked(none_match=if_none_match)
    return content_answer(_store(request), facts, asked, is_head=True)


@router.delete(
    "/files/{file_id}",
    responses={
        200: {"model": FileDeleted, "description": "It is gone."},
        **refusals(401, 403, 404, 503),
    },
)
async def delete_file(request: Request, who: Who, file_id: str) -> Response:
    """Forget a file."""
    demand(who, "submit")
    try:
        await _store(request).delete(file_id, who.sees)
    except NotFound as error:
        raise ApiError(404, str(error), param="id") from None
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})


def file_view(facts: FileFacts) -> dict[str, Any]:
    """Return a file as OpenAI's clients read it."""
    return {
        "id": facts.id,
        "object": "file",
        "bytes": facts.bytes,
        "created_at": facts.created_at,
        "filename": facts.filename,
        "purpose": facts.purpose,
        "status": "processed",
        "expires_at": facts.expires_at,
        "status_details": None,
    }


async def _checked(form: UploadForm, request: Request) -> AsyncIterator[bytes]:
    """Give the file's bytes; refuse at once what is known to be wrong already."""
    is_checked = False
    async for piece in form.file_bytes(request.stream()):
        if not is_checked and "purpose" in form.fields:
            _purpose(form)
            is_checked = True
        yield piece


def _facts(
    request: Request, form: UploadForm, id: str, tenant: str, size: int
) -> FileFacts:
    """Return the facts of an upload, all checked."""
    purpose = _purpose(form)
    now = int(_service(request).clock.utc())
    kept_s = _kept_s(form, purpose)
    return FileFacts(
        id,
        tenant,
        (form.filename or "upload")[:255],
        purpose,
        size,
        now,
        None if kept_s is None else now + kept_s,
    )


def _purpose(form: UploadForm) -> str:
    purpose = demanded(form, "purpose")
    if purpose not in PURPOSES:
        raise ApiError(
            400,
            f"'{purpose[:64]}' is not one of {', '.join(PURPOSES)}.",
            code="invalid_value",
            param="purpose",
        )
    check_name(purpose, form.filename or "")
    return purpose


def _kept_s(form: UploadForm, purpose: str) -> int | None:
    """Return for how long a file is kept; None = for ever."""
    given = form.fields.get("expires_after[seconds]")
    anchor = form.fields.get("expires_after[anchor]")
    if given is None and anchor is None:
        return kept_by_default_s(purpose)
    if anchor != "created_at":
        raise ApiError(
            400,
            f"'{(anchor or '')[:64]}' is not created_at.",
            code="invalid_value",
            param="expires_after.anchor",
        )
    text = given or ""
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    if not is_number or not MIN_KEPT_S <= int(text) <= MAX_KEPT_S:
        raise ApiError(
            400,
            f"'{text[:64]}' is not a number from {MIN_KEPT_S} to {MAX_KEPT_S}.",
            code="invalid_value",
            param="expires_after.seconds",
        )
    return int(text)


async def _former(
    request: Request, form: UploadForm, who: Principal, facts: FileFacts
) -> FileFacts | None:
    """Return the file that this upload made before, if a client repeats it."""
    repeats = _service(request).repeats
    body = repr(sorted(form.fields.items())).encode() + form.digest.digest()
    whose = f"{who.key_id}/{who.tenant}"
    key = request_key(whose, f"/files/{facts.filename}", body)
    if is_repeat(request.headers):
        id = await repeats.former(key)
        if id is not None:
            try:
                return await _store(request).get(id, who.tenant)
            except NotFound:
                pass
    await repeats.note(key, facts.id)
    return None


async def _facts_of(request: Request, who: Principal, id: str) -> FileFacts:
    try:
        return await _store(request).get(id, who.sees)
    except NotFound as error:
        raise ApiError(404, str(error), param="id") from None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _store(request: Request) -> FileStore:
    return _service(request).filestore
