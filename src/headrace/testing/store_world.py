"""A store to be tried, and the small steps by which checks try it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from headrace.errors import ErrorCode
from headrace.jobs import Finished, Job, Leased, NewItem, NewJob, Recorded
from headrace.model import Failure, ItemState, Outcome, Trace
from headrace.ports import Store

LEASE_S = 30.0


class World(Protocol):
    """A store without jobs, and its clock."""

    @property
    def store(self) -> Store:
        """The store under test."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass for the store."""
        ...


Check: TypeAlias = Callable[[World], Awaitable[None]]


def new_items(n: int, start: int = 0) -> list[NewItem]:
    """Return items named `item-0`, `item-1`, …"""
    return [NewItem(f"item-{k}", b'{"n":%d}' % k) for k in range(start, start + n)]


async def submit(store: Store, n: int = 3, **settings: Any) -> Job:
    """Submit and seal a job of n items."""
    job, _ = await store.create(NewJob(settings.pop("route", "r"), **settings))
    if n:
        await store.add(job.number, new_items(n))
    return await store.seal(job.number)


async def owner(store: Store, lease_s: float = LEASE_S) -> int:
    """Become an owner."""
    return await store.register("host", 1, lease_s)


def succeeded(lease: Leased, body: bytes = b"{}") -> Finished:
    """Return a success of a leased item."""
    trace = Trace(lease.attempts + 1, 1)
    outcome = Outcome(
        lease.custom_id, lease.seq, ItemState.SUCCEEDED, status=200, trace=trace
    )
    return Finished(lease, outcome, body)


def failed(lease: Leased, state: ItemState = ItemState.FAILED) -> Finished:
    """Return a failure of a leased item, or another end without success."""
    failure = Failure(ErrorCode.BAD_CALL, "no", 400, b'{"error":"no"}')
    trace = Trace(lease.attempts + 1, 1)
    outcome = Outcome(
        lease.custom_id, lease.seq, state, failure=failure, status=400, trace=trace
    )
    return Finished(lease, outcome)


async def take(store: Store, epoch: int, job: Job, n: int = 100) -> list[Leased]:
    """Lease up to n items of one job."""
    return await store.lease(epoch, [(job.number, n)])


async def finish_all(store: Store, job: Job, ok: bool = True) -> Recorded:  # noqa: FBT001, FBT002  reads well here
    """Lease and record whatever a job has queued."""
    epoch = await owner(store)
    leases = await take(store, epoch, job)
    done = [succeeded(item) if ok else failed(item) for item in leases]
    recorded = await store.record(epoch, done)
    await store.retire(epoch)
    return recorded


async def sweep_all(store: Store) -> None:
    """Sweep until there is nothing left to do."""
    while await store.sweep():
        pass


async def seen(store: Store, job: Job) -> Job:
    """Return the job as it is now."""
    found = await store.job(job.number)
    assert found is not None
    return found


async def states(store: Store, job: Job) -> dict[int, ItemState]:
    """Return the ends of a job's items by position."""
    page = await store.outcomes(job.number, limit=10_000)
    return {outcome.index: outcome.state for outcome in page}


async def raises(kind: type[Exception], doing: Awaitable[object]) -> Exception:
    """Return the error of this kind that doing it raises."""
    try:
        await doing
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")
