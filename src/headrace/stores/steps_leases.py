"""Who may run what: each function is one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from headrace.errors import LeaseLost
from headrace.jobs import Flow, JobState, Leased
from headrace.model import ItemState, Priority
from headrace.stores import statements_items as of_items
from headrace.stores import statements_jobs as of_jobs
from headrace.stores.jobrow import JobRow, key_in, settled, started
from headrace.stores.packing import Packer
from headrace.stores.statement import Each, Packing, Query, Rows, Steps
from headrace.stores.steps_control import end_items
from headrace.stores.steps_intake import job_row, lock_job, write_job

RESCUE_ITEMS: Final = 10_000
"""Items rescued in one transaction: some 100 ms of the writer's time."""


def register(host: str, pid: int, lease_s: float) -> Steps[int]:
    """Become an owner."""
    given = {"host": host, "pid": pid, "lease_s": lease_s}
    rows = yield Query(of_jobs.insert_owner, given)
    return int(rows[0][0])


def flows(routes: Sequence[str]) -> Steps[list[Flow]]:
    """Return the jobs of these routes that have queued items and may run."""
    rows = yield Query(of_jobs.flows, {"routes": list(routes)})
    return [
        Flow(job, id_, route, Priority(priority), tenant, left_s, left, key_in(meta))
        for job, id_, route, priority, tenant, left_s, left, meta in rows
    ]


def lease(epoch: int, wants: Sequence[tuple[int, int]]) -> Steps[list[Leased]]:
    """Take queued items of each job named."""
    alive = yield Query(of_jobs.live_owner, {"of": epoch})
    if not alive:
        raise LeaseLost(f"the lease of owner {epoch} has run out")
    now = alive[0][1]
    numbers = sorted({job for job, n in wants if n > 0})
    states: dict[int, str] = dict(
        (yield Query(of_jobs.startable, {"numbers": numbers}))
    )
    fresh = [n for n in numbers if states.get(n) == JobState.QUEUED]
    locked = (yield Query(of_jobs.lock, {"numbers": fresh})) if fresh else ()
    pack: Packer = yield Packing()
    leased: list[Leased] = []
    for job, n in wants:
        if job in states and n > 0:
            rows = yield Query(of_items.candidates, {"job": job, "limit": n})
            leased += _leases(pack, job, rows, now)
            yield from _take(epoch, [row[0] for row in rows])
    begun = {item.job for item in leased}
    for row in map(job_row, locked):
        if row.number in begun and row.state == JobState.QUEUED:
            yield from write_job(row, started(row, now))
    return leased


def _leases(pack: Packer, job: int, rows: Rows, now: float) -> list[Leased]:
    return [
        Leased(
            key,
            job,
            seq,
            custom_id,
            generation,
            attempts,
            pack.unpack(packed, body),
            max(0.0, now - queued_at),
        )
        for key, seq, custom_id, generation, attempts, queued_at, packed, body in rows
    ]


def _take(epoch: int, keys: list[int]) -> Steps[None]:
    if keys:
        yield Query(of_items.take, {"of": epoch, "keys": keys})


def release(epoch: int, held: Sequence[Leased]) -> Steps[None]:
    """Queue items again that this owner still holds."""
    numbers = sorted({item.job for item in held})
    locked = yield Query(of_jobs.lock, {"numbers": numbers})
    if locked:
        now = locked[0][-1]
        rows = [(i.attempts, now, i.item, epoch, i.generation) for i in held]
        yield Each(of_items.release_items, rows)


def retire(epoch: int) -> Steps[None]:
    """Stop being an owner, and queue again whatever it still holds."""
    rows = yield Query(of_items.jobs_of_owner, {"of": epoch})
    yield Query(of_jobs.lock, {"numbers": sorted(row[0] for row in rows)})
    yield Query(of_items.requeue_owner, {"of": epoch})
    yield Query(of_jobs.end_owner, {"of": epoch})


def owners() -> Steps[list[int]]:
    """Return the epochs of all owners, also of those whose lease has run out."""
    return [row[0] for row in (yield Query(of_jobs.owners_all))]


def bury(epochs: Sequence[int]) -> Steps[None]:
    """End the leases of owners that are dead for certain."""
    yield Query(of_jobs.expire_owners, {"numbers": list(epochs)})


def needs_rescue() -> Steps[bool]:
    """Return whether an owner has died, or left items behind."""
    if (yield Query(of_jobs.dead_owners)):
        return True
    return bool((yield Query(of_items.jobs_of_orphans)))


def rescue(max_rescues: int) -> Steps[int]:
    """Take back some items whose owners are dead; 0 = none was left."""
    rows = yield Query(of_items.jobs_of_orphans)
    if not rows:
        yield Query(of_jobs.delete_owners)
        return 0
    numbers = sorted(row[0] for row in rows)
    locked = yield Query(of_jobs.lock_any, {"numbers": numbers})
    given = {"numbers": numbers, "limit": RESCUE_ITEMS}
    found = yield Query(of_items.orphans, given)
    poisoned: defaultdict[int, list[int]] = defaultdict(list)
    again = []
    cancelling = {r.number for r in map(job_row, locked) if _is_ending(r)}
    for key, job, rescues in found:
        if rescues + 1 >= max_rescues and job not in cancelling:
            poisoned[job].append(key)
        else:
            again.append(key)
    yield Query(of_items.requeue_orphans, {"keys": again})
    for locked_row in locked:
        keys = poisoned[locked_row[0]]
        if keys:
            yield from _poison(job_row(locked_row), keys, locked_row[-1])
    return len(found)


def reclaim(job: int) -> Steps[int]:
    """Queue the running items of one job again, whoever holds them."""
    yield from lock_job(job)
    keys = [row[0] for row in (yield Query(of_items.running, {"job": job}))]
    yield Query(of_items.requeue_orphans, {"keys": keys})
    return len(keys)


def _is_ending(row: JobRow) -> bool:
    return row.state == JobState.CANCELLING


def _poison(row: JobRow, keys: list[int], now: float) -> Steps[None]:
    yield from end_items(keys, ItemState.FAILED, row.version)
    yield from write_job(row, settled(row, {ItemState.FAILED: len(keys)}, now))
