"""The HTTP application: every router, and what each request passes."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from headrace.service.admin import keyrouter
from headrace.service.admin import router as admin
from headrace.service.core import Service
from headrace.service.directroute import Shortcut
from headrace.service.errors import HANDLERS
from headrace.service.jobs import router as jobs
from headrace.service.middleware import BodyLimits, Endings, RequestIds
from headrace.service.openai import batches, files, gateway, models, uploads
from headrace.service.openapi import DescribedApp, operation_id
from headrace.service.operations import health, scraping
from headrace.service.operations.requests import Counting
from headrace.service.sifting import PREFIX
from headrace.service.stream import sse, websocket

OPENAI: tuple[APIRouter, ...] = (
    gateway.router,
    models.router,
    files.router,
    uploads.router,
    batches.router,
    sse.openai,
    websocket.openai,
)
"""Routers of OpenAI's API, served under `/v1` and without it."""

OWN: tuple[APIRouter, ...] = (
    jobs.router,
    admin.router,
    keyrouter.router,
    sse.own,
    websocket.own,
    health.router,
    scraping.router,
)
"""Routers of Headrace's own API, served as they name themselves."""


def make_app(service: Service) -> FastAPI:
    """Return the application of a service.

    It allows no other origin (no CORS), and answers each error in OpenAI's envelope.

    Args:
        service: open as long as the application is served; `request.app.state.service`.
    """
    app = DescribedApp(
        title="Headrace",
        version=version("headrace"),
        description="OpenAI's API in front of any endpoint: batches, and calls at once.",
        redirect_slashes=False,
        docs_url=None,  # these pages load code from elsewhere
        redoc_url=None,
        generate_unique_id_function=operation_id,
    )
    app.state.service = service
    for router in OPENAI:
        app.include_router(router, prefix=PREFIX)
        app.include_router(router, include_in_schema=False)
    for router in OWN:
        app.include_router(router)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    # The last added is the first that a request meets.
    app.add_middleware(Shortcut, routes=gateway.router.routes, prefixes=(PREFIX, ""))
    app.add_middleware(Endings)
    app.add_middleware(BodyLimits, settings=service.settings)
    app.add_middleware(RequestIds)
    app.add_middleware(Counting, counts=service.metrics.requests, clock=service.clock)
    return app
