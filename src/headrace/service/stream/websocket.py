"""Live events over WebSocket, under the same paths as over SSE.

Each message is an object with `type`, `id` and `data`. `{"type":"ping"}` is answered with
`{"type":"pong"}`. Closing codes: 1000 it has ended, 1001 the service stops, 1013 the
client is too slow, 4401, 4403, 4404 as the HTTP status, each with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Annotated

import msgspec
from fastapi import Query
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.errors import NotFound
from headrace.service.auth import demand, principal
from headrace.service.core import Service
from headrace.service.errors import ApiError
from headrace.service.keywatch import KeyGone, Visit
from headrace.service.principal import Principal
from headrace.service.sifting import SiftingRouter
from headrace.service.stream.course import (
    ALIVE,
    Asked,
    Told,
    batch_look,
    course_of_all,
    course_of_one,
    job_look,
)
from headrace.service.stream.listener import TooSlow

PROTOCOL = "headrace"
_KEY = "bearer."
"""`Sec-WebSocket-Protocol: headrace, bearer.<key>`: browsers can set no other header."""
_ENDED, _STOPPING, _SLOW = 1000, 1001, 1013
_MAX_REASON = 120
"""Bytes; the protocol allows 123."""
_MAX_TEXT = 4_096

own = SiftingRouter()
"""Under Headrace's own paths."""
openai = SiftingRouter()
"""Beside OpenAI's paths."""
LastId = Annotated[str, Query(max_length=200)]
Course = Callable[[Service, Principal, Visit], Awaitable[AsyncGenerator[Told, None]]]


class _Said(msgspec.Struct):
    """What a client says."""

    type: str = ""


_said = msgspec.json.Decoder(_Said).decode


@own.websocket("/api/v1/jobs/{job_id}/events")
async def job_socket(
    socket: WebSocket, job_id: str, last_event_id: LastId = "", *, items: bool = False
) -> None:
    """Tell how a job stands, then its changes, until it has ended."""

    async def course(
        service: Service, who: Principal, visit: Visit
    ) -> AsyncGenerator[Told, None]:
        look = await job_look(service, who, job_id)
        asked = Asked(last_event_id, items, service.veil_for(who))
        return course_of_one(service.hub, service.home.store, look, asked, visit)

    await _serve(socket, course)


@openai.websocket("/batches/{batch_id}/events")
async def batch_socket(
    socket: WebSocket, batch_id: str, last_event_id: LastId = ""
) -> None:
    """Tell how a batch stands, then its changes, until it has ended."""

    async def course(
        service: Service, who: Principal, visit: Visit
    ) -> AsyncGenerator[Told, None]:
        look = await batch_look(service, who, batch_id)
        asked = Asked(last_event_id)
        return course_of_one(service.hub, service.home.store, look, asked, visit)

    await _serve(socket, course)


@own.websocket("/api/v1/events")
async def all_socket(socket: WebSocket) -> None:
    """Tell how the recent jobs stand, then the changes of all jobs, without end."""

    async def course(
        service: Service, who: Principal, visit: Visit
    ) -> AsyncGenerator[Told, None]:
        return course_of_all(service.hub, service.home.store, who, visit)

    await _serve(socket, course)


async def _serve(socket: WebSocket, course: Course) -> None:
    """Tell one client until there is no more, or it goes."""
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    service: Service = socket.app.state.service
    try:
        who = await principal(_with_key(socket))
        demand(who, "read")
        with service.watch.visiting(who.key_id) as visit:
            told = await course(service, who, visit)
            await _converse(socket, visit.guard(told))
    except ApiError as error:
        await _close(socket, 4_000 + error.status, error.message)
    except NotFound as error:
        await _close(socket, 4404, str(error))


async def _converse(socket: WebSocket, told: AsyncIterator[Told]) -> None:
    """Tell, and hear, until either ends."""
    hearing = asyncio.create_task(_hear(socket))
    telling = asyncio.create_task(_tell(socket, told))
    try:
        await asyncio.wait((hearing, telling), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (hearing, telling):
            task.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect):
                await task


async def _tell(socket: WebSocket, course: AsyncIterator[Told]) -> None:
    has_ended = False
    try:
        async for told in course:
            has_ended = told.is_end
            await socket.send_text(_message(told))
    except TooSlow as error:
        await _close(socket, _SLOW, str(error))
    except NotFound as error:
        await _close(socket, 4404, str(error))
    except KeyGone as error:
        await _close(socket, 4401, str(error))
    else:
        code, reason = (
            (_ENDED, "ended") if has_ended else (_STOPPING, "the service stops")
        )
        await _close(socket, code, reason)


async def _hear(socket: WebSocket) -> None:
    """Answer pings; return when the client goes."""
    while True:
        try:
            text = await socket.receive_text()
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes came
            return
        if len(text) > _MAX_TEXT:
            return
        with suppress(msgspec.MsgspecError):
            if _said(text).type == "ping":
                await socket.send_text('{"type":"pong"}')


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
    with suppress(WebSocketDisconnect, RuntimeError):  # it is closed already
        await socket.close(code, short)


def _message(told: Told) -> str:
    if told is ALIVE:
        return '{"type":"alive"}'
    return f'{{"type":"{told.kind}","id":"{told.id}","data":{told.body.decode()}}}'


def _with_key(socket: WebSocket) -> HTTPConnection:
    """Return the connection with the key that stands among its subprotocols."""
    for offered in socket.scope.get("subprotocols", []):
        if offered.startswith(_KEY):
            value = f"Bearer {offered.removeprefix(_KEY)}".encode()
            headers = [*socket.scope["headers"], (b"authorization", value)]
            return HTTPConnection({**socket.scope, "headers": headers})
    return socket
