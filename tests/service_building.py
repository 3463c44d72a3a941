"""A service in this process, and clients of it without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from headrace.clock import SystemClock
from headrace.config import ServeSettings
from headrace.service.api import make_app
from headrace.service.core import Service, open_service

NOWHERE = "http://127.0.0.1:9"
"""An address at which nobody answers."""


def settings(**changes: Any) -> ServeSettings:
    """Return settings of a service in memory, whose upstream is not there."""
    return ServeSettings(**{"store": ":memory:", "base_url": (NOWHERE,), **changes})


@asynccontextmanager
async def opened(**changes: Any) -> AsyncIterator[Service]:
    """Open a service."""
    async with open_service(
        settings(**changes), lambda endpoint: None, SystemClock()
    ) as service:
        yield service


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client that calls an application without a socket."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1"
    ) as client:
        yield client


@asynccontextmanager
async def asking(**changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of a service of its own."""
    async with opened(**changes) as service, client_of(make_app(service)) as client:
        yield client


def with_client(
    main: Callable[[httpx2.AsyncClient], Awaitable[Any]], **changes: Any
) -> Any:
    """Run a test with a client of a service of its own; return what it returns."""

    async def run() -> Any:
        async with asking(**changes) as client:
            return await main(client)

    return asyncio.run(run())
