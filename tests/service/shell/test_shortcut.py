from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, Response
from starlette.types import Message

from headrace.service.auth import principal
from headrace.service.directroute import DirectRoute, Shortcut
from headrace.service.errors import ApiError
from headrace.service.principal import LOCAL, Principal
from headrace.service.sifting import SiftingRouter

Who = Annotated[Principal, Depends(principal)]
router = SiftingRouter(route_class=DirectRoute)


class _Keys:
    """Nobody needs a key."""

    async def are_any(self) -> bool:
        return False


class _Service:
    keys = _Keys()


@router.get("/short")
async def short(_request: Request, who: Who) -> Response:
    return Response("all" if who == LOCAL else "some")


@router.get("/refused")
async def refused(_request: Request, _who: Who) -> Response:
    raise ApiError(409, "not now", code="busy")


@router.get("/faulty")
async def faulty(_request: Request, _who: Who) -> Response:
    raise ZeroDivisionError


@router.get("/things/{id}")
async def thing(_request: Request, _who: Who, id: str) -> Response:
    return Response(id)


async def _routed(_scope: Any, _receive: Any, send: Callable[..., Any]) -> None:
    await Response("by the router", 203)({"type": "http"}, _receive, send)


def _asked(path: str, method: str = "GET") -> tuple[int, bytes, str]:
    """Return status, body and route of what the shortcut answers."""
    app = FastAPI()
    app.state.service = _Service()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(b"host", b"localhost")],
        "app": app,
    }
    shortcut: Callable[..., Awaitable[None]] = Shortcut(
        _routed, router.routes, ("/v1", "")
    )
    asyncio.run(shortcut(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], getattr(scope.get("route"), "path", "")


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_path_without_a_hole_is_answered_at_once(prefix: str) -> None:
    assert _asked(f"{prefix}/short") == (200, b"all", "/short")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/short", "POST"),
        ("/short/", "GET"),
        ("/things/7", "GET"),
        ("/v2/short", "GET"),
    ],
)
def test_all_else_is_the_routers(path: str, method: str) -> None:
    assert _asked(path, method)[:2] == (203, b"by the router")


def test_a_refusal_is_told_in_the_envelope() -> None:
    status, body, _ = _asked("/refused")
    assert status == 409
    assert b'"code":"busy"' in body


def test_a_fault_of_our_own_is_left_to_whoever_logs_it() -> None:
    with pytest.raises(ZeroDivisionError):
        _asked("/faulty")
