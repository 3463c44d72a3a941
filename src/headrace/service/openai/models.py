"""Which models can be asked: `/models`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from headrace.clock import Clock
from headrace.durable import Headrace
from headrace.errors import BadReply, CallError
from headrace.model import Reply
from headrace.service.auth import Reader
from headrace.service.documenting import example, refusals
from headrace.service.errors import ApiError
from headrace.service.openai.answering import as_api_error
from headrace.service.sifting import SiftingRouter
from headrace.wire import HttpRequest

_FRESH_S = 30.0
"""For so long an answer is given again."""
_PATIENCE_S = 5.0
"""An endpoint that does not answer within is left out, or remembered."""
_ASK = HttpRequest("/v1/models", None, "GET", cacheable=False)
Entry = dict[str, Any]

router = SiftingRouter(tags=["gateway"])


_MODEL: dict[str, Any] = {
    "id": "m",
    "object": "model",
    "created": 0,
    "owned_by": "openai",
}


class ModelObject(BaseModel):
    """A model; a provider may say more of it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _MODEL})

    id: str
    object: Literal["model"]
    created: int = Field(description="UTC seconds; 0 = not known.")
    owned_by: str


class ModelPage(BaseModel):
    """All models."""

    model_config = example(object="list", data=[_MODEL])

    object: Literal["list"]
    data: list[ModelObject]


class Models:
    """The models of all endpoints of a route: their union, each once.

    An endpoint whose models are stated is not asked. One that does not answer counts
    with what it said last.

    Args:
        home: serves the route.
        route: whose endpoints.
        clock: time.
    """

    def __init__(self, home: Headrace, route: str, clock: Clock) -> None:
        self._home = home
        self._route = route
        self._clock = clock
        self._said: dict[str, list[Entry]] = {}
        """By the endpoint's name: what it said last."""
        self._asked: frozenset[str] = frozenset()
        self._asked_at = 0.0
        self._asking = asyncio.Lock()

    async def all(self) -> list[Entry]:
        """Return the models, those that are stated first.

        Raises:
            CallError: no model is stated, and no endpoint ever answered.
        """
        endpoints = self._home.endpoints(self._route).endpoints
        stated = sorted({model for each in endpoints for model in each.models})
        open_ended = frozenset(each.name for each in endpoints if not each.models)
        async with self._asking:
            age_s = self._clock.monotonic() - self._asked_at
            if open_ended and (open_ended != self._asked or age_s >= _FRESH_S):
                await self._ask(open_ended, is_needed=not stated)
        said = (self._said.get(name, []) for name in sorted(open_ended))
        return _union([_entry({"id": name}) for name in stated], *said)

    async def _ask(self, names: frozenset[str], *, is_needed: bool) -> None:
        """Ask the endpoints; those of other names are forgotten."""
        answers = await self._home.direct.each(_ASK, self._route, _PATIENCE_S)
        said = {name: self._said[name] for name in names if name in self._said}
        errors: list[CallError] = []
        for name in sorted(names & answers.keys()):
            try:
                said[name] = _entries(answers[name])
            except CallError as error:
                errors.append(error)
        if errors and not said and is_needed:
            raise errors[0]
        self._said, self._asked = said, names
        self._asked_at = self._clock.monotonic()


@router.get(
    "/models",
    responses={
        200: {"model": ModelPage, "description": "The models of all endpoints."},
        **refusals(401, "4XX", 502, 504, "5XX"),
    },
)
async def list_models(request: Request, who: Reader) -> JSONResponse:
    """List the models that can be asked."""
    return JSONResponse({"object": "list", "data": await _all(request, who)})


@router.get(
    "/models/{model:path}",
    responses={
        200: {"model": ModelObject, "description": "The model."},
        **refusals(401, 404, "4XX", 502, 504, "5XX"),
    },
)
async def retrieve_model(request: Request, who: Reader, model: str) -> JSONResponse:
    """Return one of the models that can be asked; its id may hold slashes."""
    for each in await _all(request, who):
        if each["id"] == model:
            return JSONResponse(each)
    raise ApiError(
        404, f"there is no model {model[:200]!r}", code="model_not_found", param="model"
    )


async def _all(request: Request, who: Reader) -> list[Entry]:
    service = request.app.state.service
    try:
        found: list[Entry] = await service.models.all()
    except CallError as error:
        raise as_api_error(service.veil_for(who).error(error)) from error
    return found


class _Listed(msgspec.Struct):
    data: list[Any]


_decode = msgspec.json.Decoder(_Listed).decode


def _entries(answer: Reply | CallError) -> list[Entry]:
    """Return the models that an endpoint names.

    Raises:
        CallError: it names none.
    """
    if isinstance(answer, CallError):
        raise answer
    try:
        listed = _decode(answer.body).data
    except (ValueError, RecursionError):
        raise BadReply("the list of models is none", status=answer.status) from None
    return [_entry(each) for each in listed if _has_id(each)]


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)


def _entry(said: Mapping[str, Any]) -> Entry:
    """Return a model with all that OpenAI's clients expect."""
    created, owner = said.get("created"), said.get("owned_by")
    return {
        **said,
        "object": "model",
        "created": created if type(created) is int else 0,
        "owned_by": owner if isinstance(owner, str) else "unknown",
    }


def _union(*lists: Iterable[Entry]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entries in lists:
        for entry in entries:
            found.setdefault(entry["id"], entry)
    return list(found.values())
