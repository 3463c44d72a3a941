"""The gateway: OpenAI's calls made at once, through the gate that the jobs use, too."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request, Response

from headrace.engine.shutdown import Drained
from headrace.errors import CallError, QueueFull, Rejected
from headrace.model import Priority, Reply
from headrace.providers.dialects import dialect_named
from headrace.service.auth import demand, principal
from headrace.service.core import ROUTE, Service
from headrace.service.directroute import DirectRoute
from headrace.service.documenting import refusals
from headrace.service.errors import ApiError, stopping
from headrace.service.middleware import at_end
from headrace.service.openai.answering import (
    StreamedAnswer,
    as_api_error,
    call_refused,
    rejected,
    whole_answer,
)
from headrace.service.openai.asking import asked_of, deadline_of, priority_of
from headrace.service.openai.gatewaydocs import BODIES, MODELS, documented
from headrace.service.presence import ClientGone, Presence
from headrace.service.principal import Principal
from headrace.service.sifting import SiftingRouter
from headrace.wire import HttpRequest

_CLIENT_GONE = 499
"""As nginx says it; nobody reads it."""

router = SiftingRouter(tags=["gateway"], route_class=DirectRoute)
Who = Annotated[Principal, Depends(principal)]


@router.post("/chat/completions", **documented(BODIES["chat"], streams=True))
async def create_chat_completion(request: Request, who: Who) -> Response:
    """Answer a chat, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/chat/completions")


@router.post("/completions", **documented(BODIES["completions"], streams=True))
async def create_completion(request: Request, who: Who) -> Response:
    """Go on with a text, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/completions")


@router.post("/embeddings", **documented(BODIES["embeddings"], streams=False))
async def create_embedding(request: Request, who: Who) -> Response:
    """Return the vectors of texts."""
    return await _answer(request, who, "/v1/embeddings")


@router.post("/responses", **documented(BODIES["responses"], streams=True))
async def create_response(request: Request, who: Who) -> Response:
    """Answer by the Responses API, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/responses")


@router.get("/models", responses=MODELS)
async def list_models(request: Request, who: Who) -> Response:
    """List the models that can be asked."""
    demand(who, "read")
    listed = await _models(request, who)
    return Response(msgspec.json.encode(listed), media_type="application/json")


@router.get("/models/{model:path}", responses=refusals(401, 403, 404, 429, 502, 504))
async def retrieve_model(request: Request, who: Who, model: str) -> Response:
    """Return one of the models that can be asked."""
    demand(who, "read")
    for each in (await _models(request, who)).get("data", ()):
        if isinstance(each, dict) and each.get("id") == model:
            return Response(msgspec.json.encode(each), media_type="application/json")
    raise ApiError(
        404, f"there is no model {model[:200]!r}", code="model_not_found", param="model"
    )


async def _answer(request: Request, who: Principal, path: str) -> Response:
    """Make the call that a client asks for; its answer passes as it comes."""
    demand(who, "submit")
    settings = _service(request).settings
    asked = await asked_of(request)
    priority = priority_of(request.headers)
    deadline_s = deadline_of(request.headers, settings.deadline)
    call = HttpRequest(path, asked)
    _admit(request, who, call)
    try:
        with Presence(request.receive):
            reply = await _ask(request, who, call, priority, deadline_s, who.key_id)
    except ClientGone:
        return Response(status_code=_CLIENT_GONE)
    except CallError as error:
        return call_refused(error)
    if reply.chunks is not None:
        return StreamedAnswer(reply)
    return whole_answer(reply)


def _admit(request: Request, who: Principal, call: HttpRequest) -> None:
    """Count a call against the limits of its key, until it is answered."""
    service = _service(request)

    def tokens() -> int:
        return dialect_named(service.settings.dialect).describe(call)[1].tokens

    at_end(request.scope, service.door.enter(who, tokens))


async def _ask(
    request: Request,
    who: Principal,
    call: HttpRequest,
    priority: Priority,
    deadline_s: float,
    payer: str = "",
) -> Reply:
    try:
        return await _service(request).home.ask(
            call,
            ROUTE,
            priority=priority.name,
            tenant=who.tenant,
            deadline_s=deadline_s,
            key=payer,
        )
    except QueueFull:
        raise
    except Rejected as error:
        raise rejected(error) from error
    except Drained:
        raise stopping() from None


async def _models(request: Request, who: Principal) -> dict[str, Any]:
    """Return the list of models: of endpoints that name theirs, and of one other."""
    service = _service(request)
    endpoints = service.home.endpoints(ROUTE).endpoints
    named = sorted({model for endpoint in endpoints for model in endpoint.models})
    found = [
        {"id": m, "object": "model", "created": 0, "owned_by": ROUTE} for m in named
    ]
    if all(endpoint.models for endpoint in endpoints):
        return {"object": "list", "data": found}
    call = HttpRequest("/v1/models", None, "GET", cacheable=False)
    deadline_s = deadline_of(request.headers, service.settings.deadline)
    try:
        reply = await _ask(request, who, call, Priority.HIGH, deadline_s)
    except CallError as error:
        raise as_api_error(error) from error
    listed: dict[str, Any] = msgspec.json.decode(reply.body, type=dict[str, Any])
    others = [m for m in _models_in(listed) if m.get("id") not in named]
    return {**listed, "data": [*found, *others]}


def _models_in(listed: dict[str, Any]) -> list[dict[str, Any]]:
    data = listed.get("data")
    return [m for m in data if isinstance(m, dict)] if isinstance(data, list) else []


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
