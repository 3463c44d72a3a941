"""A route that is called without FastAPI's resolution of dependencies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from headrace.service.auth import principal


class DirectRoute(APIRoute):
    """Calls its function with the request, who asks, and what stands in the path.

    Its signature documents it as ever. For calls that are many and cheap: resolving
    dependencies takes 0.1 ms of 0.8 (measured), and the body is read by the function.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer: Callable[..., Awaitable[Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            who = await principal(request)
            named: dict[str, Any] = request.path_params
            return await answer(request, who, **named)

        return handle
