"""The gateway: OpenAI's calls made at once, through the gate that the jobs use, too."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from headrace.engine.shutdown import Drained
from headrace.errors import CallError, ErrorCode, QueueFull, Rejected, TimedOut
from headrace.model import Priority, Reply
from headrace.providers.dialects import dialect_named
from headrace.service.auth import demand, principal
from headrace.service.core import ROUTE, Service
from headrace.service.directroute import DirectRoute
from headrace.service.errors import stopping
from headrace.service.middleware import at_end
from headrace.service.openai.answering import (
    StreamedAnswer,
    call_refused,
    cut_off,
    rejected,
    whole_answer,
)
from headrace.service.openai.asking import asked_of, deadline_of, priority_of
from headrace.service.openai.gatewaydocs import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    documented,
)
from headrace.service.presence import ClientGone, Presence
from headrace.service.principal import Principal
from headrace.service.sifting import SiftingRouter
from headrace.wire import HttpRequest

_CLIENT_GONE = 499
"""As nginx says it; nobody reads it."""
_CUT_OFF_S = 7.0
"""So long a call waits for an upstream that is of no use: longer than the first pause of
a breaker (5 s, more or less a fifth), so that one that was only restarted is met again."""

router = SiftingRouter(tags=["gateway"], route_class=DirectRoute)
Who = Annotated[Principal, Depends(principal)]


@router.post("/chat/completions", **documented(CHAT))
async def create_chat_completion(request: Request, who: Who) -> Response:
    """Answer a chat, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/chat/completions")


@router.post("/completions", **documented(COMPLETIONS))
async def create_completion(request: Request, who: Who) -> Response:
    """Go on with a text, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/completions")


@router.post("/embeddings", **documented(EMBEDDINGS))
async def create_embedding(request: Request, who: Who) -> Response:
    """Return the vectors of texts."""
    return await _answer(request, who, "/v1/embeddings")


@router.post("/responses", **documented(RESPONSES))
async def create_response(request: Request, who: Who) -> Response:
    """Answer by the Responses API, whole or, with `stream`, as server-sent events."""
    return await _answer(request, who, "/v1/responses")


async def _answer(request: Request, who: Principal, path: str) -> Response:
    """Make the call that a client asks for; its answer passes as it comes."""
    demand(who, "submit")
    service = _service(request)
    asked = await asked_of(request)
    priority = priority_of(request.headers)
    deadline_s = deadline_of(request.headers, service.settings.deadline)
    call = HttpRequest(path, asked)
    _admit(request, who, call)
    try:
        with Presence(request.receive):
            reply = await _ask(request, who, call, priority, deadline_s)
    except ClientGone:
        return Response(status_code=_CLIENT_GONE)
    except CallError as error:
        return call_refused(service.veil_for(who).error(error))
    if reply.chunks is not None:
        return StreamedAnswer(reply, service.veil_for(who))
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
) -> Reply:
    home = _service(request).home
    why = home.endpoints(ROUTE).why_cut_off()
    if deadline_s <= _CUT_OFF_S:
        why = ""  # the client's own limit comes first
    try:
        return await home.ask(
            call,
            ROUTE,
            priority=priority.name,
            tenant=who.tenant,
            deadline_s=_CUT_OFF_S if why else deadline_s,
            key=who.key_id,
        )
    except TimedOut as error:
        if why and error.code is ErrorCode.EXPIRED:
            raise cut_off(why, _CUT_OFF_S) from error
        raise
    except QueueFull:
        raise
    except Rejected as error:
        raise rejected(error) from error
    except Drained:
        raise stopping() from None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
