"""Live events over SSE: `/api/v1/jobs/{id}/events`, `/batches/{id}/events`, `/events`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event

from headrace.errors import NotFound
from headrace.service.auth import demand, principal
from headrace.service.core import Service
from headrace.service.documenting import events, refusals
from headrace.service.errors import envelope
from headrace.service.keywatch import KeyGone, Visit
from headrace.service.openai.batches import OpenAiRoute
from headrace.service.principal import Principal
from headrace.service.sifting import SiftingRouter
from headrace.service.stream.course import (
    ALIVE,
    Asked,
    Told,
    batch_look,
    course_of_all,
    course_of_one,
    has_seen_the_end,
    job_look,
)
from headrace.service.stream.hub import Look
from headrace.service.stream.listener import TooSlow

RETRY_MS = 2_000
"""After so long a client whose stream was cut comes again."""
_EXAMPLE = (
    'retry: 2000\n\nevent: snapshot\nid: job_1:7\ndata: {"id":"job_1","version":7,'
    '"state":"in_progress"}\n\nevent: job\nid: job_1:9\ndata: {"id":"job_1",'
    '"version":9,"state":"completed"}\n\n'
)
_STREAM: dict[str, Any] = {
    "description": "Events: a `snapshot`, then changes; comments as signs of life.",
    "content": events(_EXAMPLE),
}
_OVER = {
    "description": "It has ended, and the client has seen that: do not come again."
}

_Course = Callable[[Visit], AsyncGenerator[Told, None]]
Who = Annotated[Principal, Depends(principal)]
LastId = Annotated[
    str,
    Header(alias="Last-Event-ID", max_length=200, description="The last event seen."),
]
Items = Annotated[bool, Query(description="Also how each item ended.")]

own = SiftingRouter(tags=["events"])
"""Under Headrace's own paths."""
openai = SiftingRouter(tags=["events"], route_class=OpenAiRoute)
"""Beside OpenAI's paths."""


@own.get(
    "/api/v1/jobs/{job_id}/events",
    responses={200: _STREAM, 204: _OVER, **refusals(401, 403, 404, 422)},
    response_class=StreamingResponse,
)
async def job_events(
    request: Request,
    who: Who,
    job_id: str,
    last_id: LastId = "",
    *,
    items: Items = False,
) -> Response:
    """Tell how a job stands, then its changes, until it has ended."""
    demand(who, "read")
    service = _service(request)
    look = await job_look(service, who, job_id)
    asked = Asked(last_id, items, service.veil_for(who))
    return await _one(request, who, look, asked)


@openai.get(
    "/batches/{batch_id}/events",
    responses={200: _STREAM, 204: _OVER, **refusals(401, 403, 404, 422)},
    response_class=StreamingResponse,
)
async def batch_events(
    request: Request, who: Who, batch_id: str, last_id: LastId = ""
) -> Response:
    """Tell how a batch stands, then its changes, until it has ended."""
    demand(who, "read")
    look = await batch_look(_service(request), who, batch_id)
    return await _one(request, who, look, Asked(last_id))


@own.get(
    "/api/v1/events",
    responses={200: _STREAM, **refusals(401, 403)},
    response_class=StreamingResponse,
)
async def all_events(request: Request, who: Who) -> Response:
    """Tell how the recent jobs stand, then the changes of all jobs, without end."""
    demand(who, "read")
    service = _service(request)

    def course(visit: Visit) -> AsyncGenerator[Told, None]:
        return course_of_all(service.hub, service.home.store, who, visit)

    return _stream(service, who, course)


async def _one(request: Request, who: Principal, look: Look, asked: Asked) -> Response:
    service = _service(request)
    first = await look()
    if first is None:
        raise NotFound("it is gone")
    if has_seen_the_end(first, asked):
        return Response(status_code=204)

    def course(visit: Visit) -> AsyncGenerator[Told, None]:
        return course_of_one(service.hub, service.home.store, look, asked, visit)

    return _stream(service, who, course)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _stream(service: Service, who: Principal, course: _Course) -> EventSourceResponse:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return EventSourceResponse(_frames(service, who, course), headers=headers)


async def _frames(
    service: Service, who: Principal, course: _Course
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY_MS)
    with service.watch.visiting(who.key_id) as visit:
        try:
            async for told in visit.guard(course(visit)):
                yield _frame(told)
        except (NotFound, TooSlow) as error:
            yield format_sse_event(comment=str(error))
        except KeyGone as error:
            yield _frame(Told("closed", body=_closed(error)))


def _closed(error: KeyGone) -> bytes:
    return msgspec.json.encode(envelope(401, str(error), "invalid_api_key"))


def _frame(told: Told) -> bytes:
    if told is ALIVE:
        return b": alive\n\n"
    id = b"id: %s\n" % told.id.encode() if told.id else b""
    return b"event: %s\n%sdata: %s\n\n" % (told.kind.encode(), id, told.body)
