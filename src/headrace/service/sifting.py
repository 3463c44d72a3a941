"""A router that is asked only for paths which begin as one of its own do."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

PREFIX: Final = "/v1"
"""Under which the routers of OpenAI's API are served once more."""


class SiftingRouter(APIRouter):
    """Turns away at once what none of its routes could match.

    FastAPI asks one router after the other, and each tries all of its routes: with
    twenty routers that took 0.35 ms of a request, a third of submitting a small job.
    """

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple({_beginning(route) for route in self.routes})

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"].removeprefix(PREFIX)
        if not path.startswith(self._beginnings):
            return Match.NONE, {}
        return super().matches(scope)


def _beginning(route: BaseRoute) -> str:
    path = str(getattr(route, "path", ""))  # what has none is always asked
    return path.partition("{")[0]
