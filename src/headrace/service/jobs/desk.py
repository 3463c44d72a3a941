"""Jobs of a tenant: found, looked into and estimated."""

from __future__ import annotations

from typing import Any

from headrace.durable import Headrace
from headrace.errors import NotFound
from headrace.insight.estimate import Estimate, Road, estimate
from headrace.insight.tally import Tally
from headrace.jobhandle import JobHandle
from headrace.jobs import KEY, Job
from headrace.model import Cost
from headrace.policies.budget import Tariff, dearest, tariff_for, tariffs_of
from headrace.service.core import ROUTE, Service
from headrace.service.jobs.documenting import EstimateRequest
from headrace.service.keyviews import key_view
from headrace.service.principal import Principal
from headrace.service.veil import Veil

_PAGE = 200
_MAX_LOOKED_AT = 20
_SAMPLE = 200


async def found(home: Headrace, who: Principal, id: str) -> JobHandle:
    """Return a job that this one may see.

    Raises:
        NotFound: there is none, or it is of another tenant: nobody is told which.
    """
    job = await home.store.job(id)
    if job is None or job.id != id or who.sees not in (None, job.tenant):
        raise NotFound(f"no job found with id {id[:64]!r}")
    return JobHandle(home, job)


async def listed(
    home: Headrace, who: Principal, before: int | None, limit: int
) -> list[Job]:
    """Return jobs that this one may see, newest first."""
    jobs: list[Job] = []
    while len(jobs) < limit and (page := await home.store.jobs(_PAGE, before)):
        jobs += [job for job in page if who.sees in (None, job.tenant)]
        before = page[-1].number
    return jobs[:limit]


async def tallied(home: Headrace, job: Job, veil: Veil) -> Tally:
    """Return what the outcomes of a job add up to, as far as they may be seen."""
    tally = Tally()
    number = 0
    while page := await home.store.outcomes(job.number, number):
        for outcome in page:
            tally.add(veil.outcome(outcome))
        number = page[-1].number
    return tally


async def key_fields(service: Service, job: Job) -> dict[str, Any] | None:
    """Return what binds a job by its key, and how much of that is in use; None = none."""
    id = job.metadata.get(KEY)
    key = None if id is None else await service.keys.find(id)
    if key is None:
        return None
    use = await service.keybook.use(key.id)
    view = key_view(key, use, service.clock.utc())
    in_flight, waiting = service.door.under_way(key.id)
    return {
        "id": key.id,
        "limits": view["limits"],
        "budget": view["budget"],
        "in_flight": in_flight,
        "waiting": waiting,
    }


async def estimated(
    service: Service, who: Principal, asked: EstimateRequest
) -> tuple[Estimate, float | None]:
    """Return what calls would take, and the latency that was reckoned with."""
    home = service.home
    latency_s = asked.latency_s
    if latency_s is None:
        latency_s = await _latency_s(home, who)
    cost = Cost(asked.input_tokens, asked.output_tokens)
    ahead = await home.store.queued([ROUTE])
    roads, tariff = _roads(service), _tariff(service, asked.model)
    return estimate(asked.calls, ahead, cost, latency_s, roads, tariff), latency_s


async def _latency_s(home: Headrace, who: Principal) -> float | None:
    """Return how long the newest answers took; None if there are none."""
    tally = Tally()
    for job in await listed(home, who, None, _MAX_LOOKED_AT):
        for outcome in await home.store.outcomes(job.number, 0, _SAMPLE):
            if outcome.ok and not outcome.trace.cached:
                tally.add(outcome)
        if tally.total >= _SAMPLE:
            break
    return tally.calls.mean if tally.total and tally.calls.mean > 0 else None


def _roads(service: Service) -> list[Road]:
    pool = service.home.endpoints(ROUTE)
    limits = {endpoint.name: endpoint.limits for endpoint in pool.endpoints}
    return [
        Road(
            max(1, view.in_flight_limit),
            limits[view.name].calls_per_minute,
            limits[view.name].tokens_per_minute,
        )
        for view in pool.views()
        if view.name in limits
    ]


def _tariff(service: Service, model: str) -> Tariff | None:
    """Return the highest price that a call of the model may have."""
    routes = tariffs_of(service.settings.price)
    found = []
    for endpoint in service.home.endpoints(ROUTE).endpoints:
        own = tariff_for(tariffs_of(endpoint.prices), model)
        tariff = own or tariff_for(routes, model)
        if tariff is None:
            return None
        found.append(tariff)
    return dearest(found)
