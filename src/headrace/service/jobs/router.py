"""Jobs: `/api/v1/jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import WithJsonSchema

from headrace.errors import ConfigError, DuplicateItem
from headrace.jobhandle import JobHandle
from headrace.jobs import KEY, FailurePolicy, Job
from headrace.service.auth import Reader, Submitter
from headrace.service.core import ROUTE, Service
from headrace.service.documenting import answering, refusals
from headrace.service.errors import ApiError, envelope
from headrace.service.jobs.desk import estimated, found, key_fields, listed, tallied
from headrace.service.jobs.documenting import (
    BODY,
    ON_FAILURE,
    OUTCOMES,
    ROUTES,
    EstimateRequest,
)
from headrace.service.jobs.intake import LINES, items_of
from headrace.service.jobs.objects import (
    AttemptPage,
    EstimateObject,
    ExplainedJob,
    ItemPage,
    JobObject,
    JobPage,
    RetriedJob,
)
from headrace.service.jobs.views import (
    attempt_view,
    item_view,
    job_view,
    outcome_line,
    why_view,
)
from headrace.service.keywatch import KeyGone
from headrace.service.principal import Principal
from headrace.service.sifting import SiftingRouter

router = SiftingRouter(prefix="/api/v1/jobs", tags=["jobs"])
_MOST_SEQ = 2**31 - 1
_After = Annotated[int, Query(ge=0, le=2**53, description="Number to go on after.")]


@router.post("", openapi_extra=BODY, responses=answering(JobObject, 404, 409, 415))
async def submit_job(  # noqa: PLR0913  a route: all are named parameters
    request: Request,
    who: Submitter,
    route: Annotated[
        str, WithJsonSchema(ROUTES), Query(max_length=200, description="Who answers.")
    ] = ROUTE,
    priority: Literal["low", "normal", "high", "urgent"] = "normal",
    deadline_s: Annotated[
        float | None, Query(gt=0, le=10**9, description="Then what is left expires.")
    ] = None,
    on_failure: Annotated[
        str,
        WithJsonSchema(ON_FAILURE),
        Query(max_length=32, description="keep, all, or a share such as 0.5."),
    ] = "keep",
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Sent again, it returns the first job.",
        ),
    ] = None,
) -> Response:
    """Keep calls as a job and let it run; all of them or none."""
    service = _service(request)
    _check_route(service, route)
    _check_policy(on_failure)
    await service.door.expect_money(who)
    key = idempotency_key and f"api:{who.tenant}:{idempotency_key}"
    try:
        handle = await service.home.submit(
            items_of(request, service.settings),
            route,
            priority=priority,
            idempotency_key=key,
            deadline_s=deadline_s,
            on_failure=on_failure,
            tenant=who.tenant,
            metadata={KEY: who.key_id} if who.key_id else None,
        )
    except DuplicateItem as error:
        raise ApiError(
            400, str(error), code="duplicate_custom_id", param="custom_id"
        ) from None
    return _answer(job_view(handle.job))


@router.get("", responses=answering(JobPage, 404))
async def list_jobs(
    request: Request,
    who: Reader,
    after: Annotated[
        str | None, Query(max_length=64, description="Id to go on after.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List jobs, newest first; `after` is the id of the one to go on after."""
    home = _service(request).home
    before = None if after is None else (await found(home, who, after)).job.number
    jobs = await listed(home, who, before, limit + 1)
    page = [job_view(job) for job in jobs[:limit]]
    return _answer(
        {
            "object": "list",
            "data": page,
            "has_more": len(jobs) > limit,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
    )


@router.post(
    "/estimate",
    responses=answering(EstimateObject),
)
async def estimate_job(
    request: Request, who: Reader, body: EstimateRequest
) -> Response:
    """Say how long calls would take and cost, with what is known now."""
    expected, latency_s = await estimated(_service(request), who, body)
    return _answer({**msgspec.to_builtins(expected), "latency_s": latency_s})


@router.get("/{job_id}", responses=answering(JobObject, 404))
async def retrieve_job(request: Request, who: Reader, job_id: str) -> Response:
    """Return a job, its counts as they are now."""
    handle = await found(_service(request).home, who, job_id)
    return _answer(job_view(handle.job))


@router.get("/{job_id}/items", responses=answering(ItemPage, 404))
async def list_items(
    request: Request,
    who: Reader,
    job_id: str,
    after: _After = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """List the items that have ended, in the order of their ends, without answers."""
    service = _service(request)
    home, veil = service.home, service.veil_for(who)
    job = (await found(home, who, job_id)).job
    page = await home.store.outcomes(job.number, after, limit)
    counts = msgspec.to_builtins(job.counts)
    data = [item_view(veil.outcome(outcome)) for outcome in page]
    return _answer({"object": "list", "data": data, "counts": counts})


@router.get(
    "/{job_id}/items/{index}/attempts",
    responses=answering(AttemptPage, 404),
)
async def list_attempts(
    request: Request, who: Reader, job_id: str, index: int
) -> Response:
    """List the failed tries and former outcomes of one item, oldest first."""
    service = _service(request)
    home, veil = service.home, service.veil_for(who)
    job = (await found(home, who, job_id)).job
    if not 0 <= index < min(job.counts.total, _MOST_SEQ):
        raise ApiError(
            404, f"job {job.id} has no item {index}", code="not_found", param="index"
        )
    tries = await home.store.attempts(job.number, index)
    data = [attempt_view(veil.attempt(each)) for each in tries]
    return _answer({"object": "list", "data": data})


@router.get(
    "/{job_id}/outcomes",
    responses={
        200: {"description": "JSON lines.", "content": OUTCOMES},
        **refusals(401, 404),
    },
    response_class=StreamingResponse,
)
async def stream_outcomes(
    request: Request,
    who: Reader,
    job_id: str,
    after: _After = 0,
    follow: Annotated[
        Literal["true", "false"], Query(description="Go on until the job has ended?")
    ] = "true",
) -> Response:
    """Stream the outcomes as JSON lines in the order they were recorded.

    Each is a line of a batch's output file, with its `number` and `state`. Who comes
    again with the last number as `after` misses nothing and sees nothing twice.
    """
    service = _service(request)
    handle = await found(service.home, who, job_id)
    lines = (
        _following(service, who, handle, after)
        if follow == "true"
        else _recorded(service, who, handle.job, after)
    )
    return StreamingResponse(lines, media_type=LINES[0])


@router.get("/{job_id}/why", responses=answering(ExplainedJob, 404))
async def explain_job(request: Request, who: Reader, job_id: str) -> Response:
    """Say where the time of a job went, why items failed, and what holds it back."""
    service = _service(request)
    home, veil = service.home, service.veil_for(who)
    job = (await found(home, who, job_id)).job
    tally = await tallied(home, job, veil)
    troubles = () if veil.is_on else await home.store.troubles(job.number)
    key = await key_fields(service, job)
    return _answer({**why_view(job, tally, troubles), "key": key})


@router.post("/{job_id}/cancel", responses=answering(JobObject, 404, 409))
async def cancel_job(request: Request, who: Submitter, job_id: str) -> Response:
    """Cancel what has not ended; what has, stays."""
    handle = await found(_service(request).home, who, job_id)
    await handle.cancel()
    return _answer(job_view(await handle.refresh()))


@router.post("/{job_id}/pause", responses=answering(JobObject, 404, 409))
async def pause_job(request: Request, who: Submitter, job_id: str) -> Response:
    """Start no more of its items."""
    handle = await found(_service(request).home, who, job_id)
    return _answer(job_view(await handle.pause()))


@router.post("/{job_id}/resume", responses=answering(JobObject, 404, 409))
async def resume_job(request: Request, who: Submitter, job_id: str) -> Response:
    """Go on with a paused job."""
    handle = await found(_service(request).home, who, job_id)
    return _answer(job_view(await handle.resume()))


@router.post("/{job_id}/retry", responses=answering(RetriedJob, 404, 409))
async def retry_job(request: Request, who: Submitter, job_id: str) -> Response:
    """Run what failed, expired or was cancelled again, in the same job."""
    handle = await found(_service(request).home, who, job_id)
    if "batch" in handle.job.metadata:
        raise ApiError(
            409,
            f"job {job_id} is a batch, which is never opened again; retry the batch",
            code="wrong_state",
            headers={"x-should-retry": "false"},
        )
    count = await handle.retry()
    return _answer({**job_view(await handle.refresh()), "queued_again": count})


async def _following(
    service: Service, who: Principal, handle: JobHandle, after: int
) -> AsyncIterator[bytes]:
    """Give the lines until the job has ended; or an error, if the key is gone before."""
    veil = service.veil_for(who)
    with service.watch.visiting(who.key_id) as visit:
        try:
            async for outcome in visit.guard(handle.outcomes(after)):
                yield outcome_line(handle.id, veil.outcome(outcome))
        except KeyGone as error:
            told = envelope(401, str(error), "invalid_api_key")
            yield msgspec.json.encode(told) + b"\n"


async def _recorded(
    service: Service, who: Principal, job: Job, after: int
) -> AsyncIterator[bytes]:
    """Give the lines of what was recorded when this was asked."""
    home, veil = service.home, service.veil_for(who)
    while after < job.version:
        page = await home.store.outcomes(job.number, after)
        for outcome in page:
            if outcome.number <= job.version:
                yield outcome_line(job.id, veil.outcome(outcome))
        after = page[-1].number if page else job.version


def _check_route(service: Service, route: str) -> None:
    try:
        service.home.endpoints(route)
    except ConfigError:
        raise ApiError(
            400,
            f"route: given {route[:80]!r}, allowed {ROUTE!r}",
            code="invalid_value",
            param="route",
        ) from None


def _check_policy(word: str) -> None:
    try:
        FailurePolicy.parse(word)
    except ValueError as error:
        raise ApiError(
            400, f"on_failure: {error}", code="invalid_value", param="on_failure"
        ) from None


def _answer(fields: dict[str, Any]) -> JSONResponse:
    return JSONResponse(fields)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
