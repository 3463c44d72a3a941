"""Endpoints, limits, figures and retention, for keys of scope `admin`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse

from headrace.errors import ConfigError, WrongState
from headrace.jobs import JOB_ENDS, Job
from headrace.model import Endpoint, Limits
from headrace.service.admin.bodies import Cleanup, NewEndpoint, NewLimits, NewWeight
from headrace.service.admin.objects import CleanupObject, EndpointPage, StatsObject
from headrace.service.admin.upstreams import check_upstream
from headrace.service.auth import Admin
from headrace.service.core import ROUTE, Service
from headrace.service.documenting import answering
from headrace.service.errors import ApiError
from headrace.service.sifting import SiftingRouter

router = SiftingRouter(prefix="/api/v1", tags=["administration"])
Name = Annotated[str, Query(min_length=1, max_length=2_000, description="Of it.")]
_NO_KEY = ""
_PAGE = 200
_MOST_REMOVED = 1_000
"""By one request; `has_more` says that another one is needed."""
_ALL = answering(EndpointPage)
_ONE = answering(EndpointPage, 400, 404)


@router.get("/endpoints", responses=_ALL)
async def list_endpoints(request: Request, _: Admin) -> Response:
    """List the endpoints and how each stands."""
    return _listed(_service(request))


@router.post("/endpoints", responses=_ONE)
async def add_endpoint(request: Request, _: Admin, body: NewEndpoint) -> Response:
    """Let calls go to one more endpoint, few at first; until the service ends."""
    service = _service(request)
    await check_upstream(body.base_url, service.settings)
    with _refusing():
        service.home.endpoints(ROUTE).add(_endpoint(service, body))
    return _listed(service)


@router.delete("/endpoints", responses=_ONE)
async def remove_endpoint(request: Request, _: Admin, name: Name) -> Response:
    """Start no more calls at an endpoint, and forget it once its last has ended."""
    service = _service(request)
    _expect(service, name)
    with _refusing():
        service.home.endpoints(ROUTE).remove(name)
    return _listed(service)


@router.post("/endpoints/drain", responses=_ONE)
async def drain_endpoint(request: Request, _: Admin, name: Name) -> Response:
    """Start no more calls at an endpoint; those under way end there."""
    service = _service(request)
    _expect(service, name)
    with _refusing():
        service.home.endpoints(ROUTE).drain(name)
    return _listed(service)


@router.post("/endpoints/restore", responses=_ONE)
async def restore_endpoint(request: Request, _: Admin, name: Name) -> Response:
    """Let calls go again to an endpoint that was drained."""
    service = _service(request)
    _expect(service, name)
    with _refusing():
        service.home.endpoints(ROUTE).restore(name)
    return _listed(service)


@router.put("/endpoints/weight", responses=_ONE)
async def weigh_endpoint(
    request: Request, _: Admin, name: Name, body: NewWeight
) -> Response:
    """Change an endpoint's share of the work."""
    service = _service(request)
    _expect(service, name)
    with _refusing():
        service.home.endpoints(ROUTE).reweigh(name, body.weight)
    return _listed(service)


@router.get("/limits", responses=_ALL)
async def list_limits(request: Request, _: Admin) -> Response:
    """List what each endpoint may be asked for, stated and learnt."""
    return _listed(_service(request))


@router.patch("/limits", responses=_ONE)
async def change_limits(
    request: Request, _: Admin, name: Name, body: NewLimits
) -> Response:
    """Change numbers of the limits of an endpoint; calls under way are not touched."""
    service = _service(request)
    pool = service.home.endpoints(ROUTE)
    numbers = body.model_dump(exclude_none=True)
    known = {endpoint.name: endpoint for endpoint in pool.endpoints}
    _expect(service, name)
    with _refusing():
        if name not in known:
            raise ConfigError(f"endpoint {name!r} takes no calls; restore it first")
        before = known[name]
        limits = msgspec.structs.replace(before.limits, **numbers)
        pool.change(msgspec.structs.replace(before, limits=limits))
    return _listed(service)


@router.get("/system/stats", responses=answering(StatsObject))
async def read_stats(request: Request, _: Admin) -> Response:
    """Say what waits, what is under way, and how each endpoint stands."""
    service = _service(request)
    endpoints = _views(service)
    fields = {
        "queued": await service.home.store.queued([ROUTE]),
        "in_flight": sum(each["in_flight"] for each in endpoints),
        "endpoints": endpoints,
        "cache": _plain(service.home.cache_statistics()),
    }
    return JSONResponse(fields)


@router.post("/admin/cleanup", responses=answering(CleanupObject))
async def clean_up(request: Request, _: Admin, body: Cleanup) -> Response:
    """Forget jobs that ended long ago, with all that belongs to them; not batches."""
    service = _service(request)
    until = service.clock.utc() - body.older_than_s
    old = await _ended_before(service, until)
    removed = []
    for job in old[:_MOST_REMOVED]:
        if not body.dry_run:
            try:
                await service.home.store.remove(job.number)
            except WrongState:
                continue  # it was retried meanwhile
        removed.append(job.id)
    has_more = len(old) > _MOST_REMOVED
    return JSONResponse({"removed": removed, "has_more": has_more})


async def _ended_before(service: Service, until: float) -> list[Job]:
    """Return jobs that ended before `until`, newest first, at most one too many."""
    found: list[Job] = []
    before: int | None = None
    while page := await service.home.store.jobs(_PAGE, before):
        found += [
            job
            for job in page
            if job.state in JOB_ENDS
            and (job.ended_at or job.created_at) <= until
            and "batch" not in job.metadata
        ]
        if len(found) > _MOST_REMOVED:
            break
        before = page[-1].number
    return found


def _endpoint(service: Service, body: NewEndpoint) -> Endpoint:
    """Return the endpoint that is asked for.

    Raises:
        ConfigError: its key is not one of those that the settings name.
    """
    settings = service.settings
    named = {each.key_env for each in settings.endpoint} | {settings.api_key_env}
    allowed = sorted(name for name in named if name)
    if body.api_key_env is not None and body.api_key_env not in allowed:
        raise ConfigError(
            f"api_key_env: given {body.api_key_env[:80]!r}, allowed "
            f"{', '.join(allowed) or 'none: the settings name no variable'}"
        )
    limits = Limits(
        body.in_flight,
        body.calls_per_minute,
        body.tokens_per_minute,
        max_in_flight=settings.max_in_flight,
    )
    return Endpoint(
        body.name,
        body.base_url,
        body.api_key_env or _NO_KEY,
        (),
        limits,
        body.weight,
        body.tier,
        tuple(body.models),
    )


def _listed(service: Service) -> Response:
    return JSONResponse({"object": "list", "data": _views(service)})


def _views(service: Service) -> list[dict[str, Any]]:
    """Return how each endpoint stands; headers and keys are not shown."""
    pool = service.home.endpoints(ROUTE)
    known = {endpoint.name: endpoint for endpoint in pool.endpoints}
    found = []
    for view in pool.views():
        fields = _plain(view)
        if (endpoint := known.get(view.name)) is not None:
            fields["base_url"] = endpoint.base_url
            fields["weight"] = endpoint.weight
            fields["tier"] = endpoint.tier
            fields["models"] = list(endpoint.models)
            fields["limits"] = _plain(endpoint.limits)
        found.append(fields)
    return found


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _plain(value: Any) -> Any:
    return msgspec.json.decode(_encode(value))


def _expect(service: Service, name: str) -> None:
    """Refuse a name that no endpoint has.

    Raises:
        ApiError: 404.
    """
    known = [view.name for view in service.home.endpoints(ROUTE).views()]
    if name not in known:
        raise ApiError(
            404,
            f"endpoint: given {name[:80]!r}, there are {', '.join(known)}",
            code="not_found",
            param="name",
        )


@contextmanager
def _refusing() -> Iterator[None]:
    """Answer what the engine refuses with 400."""
    try:
        yield
    except (ConfigError, ValueError) as error:
        raise ApiError(400, str(error), code="invalid_value") from None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
