"""A job that runs as far as a test lets it, and clients that listen to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import headrace
from headrace import FunctionRoute, Limits
from headrace.clock import SystemClock
from headrace.durable import Headrace
from headrace.service.keywatch import Visit
from headrace.service.stream.course import (
    ALIVE,
    Asked,
    Told,
    course_of_all,
    course_of_one,
)
from headrace.service.stream.hub import Hub, Look
from headrace.service.stream.views import view_of_job

ROUTE = "steps"


class Steps:
    """Answers items as fast as they come, up to the one that waits for `go`."""

    def __init__(self, at: int | None = None) -> None:
        self.go = asyncio.Event()
        self._at = at

    async def answer(self, item: int) -> int:
        if self._at is not None and item >= self._at:
            await self.go.wait()
        return item

    @property
    def route(self) -> FunctionRoute:
        return FunctionRoute(ROUTE, self.answer, limits=Limits(in_flight=16))


@asynccontextmanager
async def listening(
    steps: Steps, where: Any = ":memory:"
) -> AsyncIterator[tuple[Headrace, Hub]]:
    async with headrace.open(where, [steps.route]) as home:
        hub = Hub(home, SystemClock())
        async with hub.running():
            yield home, hub


def looking(home: Headrace, number: int) -> Look:
    async def look() -> Any:
        job = await home.store.job(number)
        return None if job is None else view_of_job(job)

    return look


async def heard(
    home: Headrace, hub: Hub, number: int, asked: Asked = Asked()
) -> AsyncIterator[Told]:
    course = course_of_one(hub, home.store, looking(home, number), asked, Visit())
    async for told in course:
        if told is not ALIVE:
            yield told


def body(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told.body)
    return found


__all__ = ["Steps", "body", "course_of_all", "heard", "listening", "looking"]
