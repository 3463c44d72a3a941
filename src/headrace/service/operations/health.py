"""Whether the service lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from headrace.errors import HeadraceError
from headrace.service.core import Service
from headrace.service.documenting import example
from headrace.service.sifting import SiftingRouter

_PATIENCE_S = 2.0
"""What does not answer within is not ready."""
_PROBE = "health"
"""Id of a file that does not exist."""

router = SiftingRouter(tags=["operations"])


class Live(BaseModel):
    """The process answers."""

    model_config = example(status="live")

    status: Literal["live"]


class Readiness(BaseModel):
    """What the service stands on, and what is wrong with it."""

    model_config = example(
        status="ready", checks={"store": "ok", "engine": "ok", "files": "ok"}
    )

    status: Literal["ready", "unready"]
    checks: dict[str, str] = Field(
        description="store, engine and files: `ok`, or what is wrong."
    )


@router.get("/health/live")
async def live() -> Live:
    """Say that the process answers; nothing else is looked at."""
    return Live(status="live")


@router.get(
    "/health/ready",
    responses={
        200: {"model": Readiness, "description": "It can do its work."},
        503: {"model": Readiness, "description": "It cannot; says what is wrong."},
    },
)
async def ready(request: Request) -> Response:
    """Say whether store, engine and files can be used now."""
    service: Service = request.app.state.service
    store, files = await asyncio.gather(
        _checked(service.home.store.queued(())), _checked(service.files.size(_PROBE))
    )
    checks = {"store": store, "engine": service.home.trouble() or "ok", "files": files}
    is_ready = all(said == "ok" for said in checks.values())
    body = {"status": "ready" if is_ready else "unready", "checks": checks}
    return JSONResponse(body, 200 if is_ready else 503)


async def _checked(asking: Awaitable[Any]) -> str:
    """Return `ok`, or what is wrong: the kind of error, for its text may hold names."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asking
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:g} s"
    except (HeadraceError, OSError) as error:
        return f"it cannot be used ({type(error).__name__})"
    return "ok"
