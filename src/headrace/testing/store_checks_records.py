"""Checks of a store: how outcomes are kept and read."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from headrace.errors import ErrorCode
from headrace.jobs import AttemptRecord, Finished, Job, JobState
from headrace.model import Failure, ItemState, Outcome, Trace, Usage
from headrace.ports import Store
from headrace.testing.store_world import (
    Check,
    World,
    failed,
    finish_all,
    owner,
    seen,
    submit,
    succeeded,
    take,
)

TRACE: Final = Trace(
    2, 3, 0.5, 0.25, 0.125, 1.0, 2.0, 4.0, 0.0625, "east", model="tiny"
)


async def a_success_comes_back_as_it_was_recorded(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    leases = await take(world.store, epoch, job)
    bodies = [b'{"a": 1 }\n', b"\0\xff" * 4000, b""]
    told = [
        Outcome(
            lease.custom_id,
            lease.seq,
            ItemState.SUCCEEDED,
            usage=Usage(11, 7),
            status=201,
            request_id="req_1",
            trace=TRACE,
        )
        for lease in leases
    ]
    done = [Finished(*parts) for parts in zip(leases, told, bodies, strict=True)]
    numbers = (await world.store.record(epoch, done)).numbers
    assert await world.store.outcomes(job.number) == [
        replace(outcome, value=body, number=numbers[lease.item])
        for outcome, body, lease in zip(told, bodies, leases, strict=True)
    ]


async def a_failure_comes_back_as_it_was_recorded(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    body = b'{"error":{"message":"no"}}'
    failure = Failure(ErrorCode.RATE_LIMITED, "slow down", 429, body, "req_9")
    told = Outcome(
        lease.custom_id, 0, ItemState.FAILED, failure=failure, status=429, trace=TRACE
    )
    numbers = (await world.store.record(epoch, [Finished(lease, told)])).numbers
    expected = replace(told, number=numbers[lease.item])
    assert await world.store.outcomes(job.number) == [expected]


async def a_success_without_a_body_has_no_value(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    told = Outcome(lease.custom_id, 0, ItemState.SUCCEEDED, trace=TRACE)
    await world.store.record(epoch, [Finished(lease, told)])
    (outcome,) = await world.store.outcomes(job.number)
    assert (outcome.value, outcome.usage, outcome.status) == (None, None, None)


async def a_strangers_message_never_stops_the_recording(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    failure = Failure(ErrorCode.BAD_REPLY, "nul \0 half \ud800 é")
    told = Outcome(lease.custom_id, 0, ItemState.FAILED, failure=failure)
    await world.store.record(epoch, [Finished(lease, told)])
    (outcome,) = await world.store.outcomes(job.number)
    assert outcome.failure is not None
    assert outcome.failure.message == "nul \ufffd half ? é"


async def numbers_follow_the_order_given(world: World) -> None:
    job = await submit(world.store, 3)
    epoch = await owner(world.store)
    first, second, third = await take(world.store, epoch, job)
    done = [succeeded(third), failed(first), succeeded(second)]
    recorded = await world.store.record(epoch, done)
    page = await world.store.outcomes(job.number)
    assert [outcome.index for outcome in page] == [2, 0, 1]
    assert [o.number for o in page] == list(recorded.numbers.values())
    assert sorted(recorded.numbers.values()) == list(recorded.numbers.values())


async def the_version_grows_with_each_outcome_and_change_of_state(
    world: World,
) -> None:
    job = await submit(world.store, 3)
    epoch = await owner(world.store)
    leases = await take(world.store, epoch, job)
    started = await seen(world.store, job)
    assert started.version == job.version + 1
    done = [succeeded(lease) for lease in leases]
    recorded = await world.store.record(epoch, done[:2])
    assert recorded.jobs[job.number].version == started.version + 2
    recorded = await world.store.record(epoch, done[2:])
    assert recorded.jobs[job.number].version == started.version + 4


async def an_outcome_is_recorded_once(world: World) -> None:
    job = await submit(world.store, 2)
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job)
    twice = [succeeded(first, b"1"), succeeded(first, b"2")]
    assert len((await world.store.record(epoch, twice)).numbers) == 1
    late = await world.store.record(epoch, [failed(first), succeeded(second)])
    assert list(late.numbers) == [second.item]
    page = await world.store.outcomes(job.number)
    assert [outcome.value for outcome in page] == [b"1", b"{}"]


async def a_group_may_span_jobs(world: World) -> None:
    first, second = await submit(world.store, 2), await submit(world.store, 2)
    epoch = await owner(world.store)
    wants = [(first.number, 2), (second.number, 1)]
    leases = await world.store.lease(epoch, wants)
    recorded = await world.store.record(epoch, [succeeded(item) for item in leases])
    assert recorded.jobs[first.number].state is JobState.FINALIZING
    assert recorded.jobs[second.number].state is JobState.IN_PROGRESS
    assert recorded.jobs[second.number].counts.succeeded == 1
    assert recorded.jobs[second.number] == await seen(world.store, second)


async def a_job_completes_with_its_last_outcome(world: World) -> None:
    job = await submit(world.store, 2)
    await finish_all(world.store, job)
    ended = await world.store.conclude(job.number)
    assert ended.state is JobState.COMPLETED
    assert ended.ended_at is not None
    assert await world.store.conclude(job.number) == ended


async def failed_tries_are_kept_with_their_item(world: World) -> None:
    job = await submit(world.store, 2)
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job)
    tried = AttemptRecord(0, 0, 1, "overloaded", "busy \0", 5.0, 503, "east", 0.5)
    await world.store.record(epoch, [succeeded(first)], [(first.item, tried)])
    other = AttemptRecord(1, 0, 1, "request_timeout", "slow", 6.0)
    await world.store.record(epoch, [], [(second.item, other)])
    kept = await world.store.attempts(job.number, 0)
    assert kept == [replace(tried, message="busy \ufffd")]
    assert await world.store.attempts(job.number, 1) == [other]
    assert await world.store.attempts(job.number, 7) == []


async def the_tries_of_a_stale_owner_are_not_kept(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    await world.store.reclaim(job.number)
    tried = AttemptRecord(0, 0, 1, "overloaded", "busy", 5.0)
    await world.store.record(epoch, [], [(lease.item, tried)])
    assert await world.store.attempts(job.number, 0) == []


async def what_is_certain_of_the_output_is_remembered(world: World) -> None:
    job = await submit(world.store, 2)
    epoch = await owner(world.store)
    first, _ = await take(world.store, epoch, job)
    rendered = {job.number: {"bytes": 10**12}, 99: {"bytes": 1}}
    recorded = await world.store.record(epoch, [succeeded(first)], (), rendered)
    assert recorded.jobs[job.number].rendered == {"bytes": 10**12}
    await world.store.mark_rendered(job.number, {"bytes": 7, "number": 1})
    assert (await seen(world.store, job)).rendered == {"bytes": 7, "number": 1}


async def nothing_is_skipped_or_seen_twice_while_four_record(world: World) -> None:
    job = await submit(world.store, 400)
    writers = [_work(world.store, job) for _ in range(4)]
    reading = asyncio.ensure_future(_read(world.store, job, 400))
    await asyncio.gather(*writers)
    read = await reading
    assert sorted(read) == list(range(400))


async def _work(store: Store, job: Job) -> None:
    epoch = await owner(store)
    while leases := await take(store, epoch, job, 7):
        await store.record(epoch, [succeeded(lease) for lease in leases])


async def _read(store: Store, job: Job, n: int) -> list[int]:
    found: list[int] = []
    after = 0
    while len(found) < n:
        page = await store.outcomes(job.number, after, 50)
        found += [outcome.index for outcome in page]
        after = page[-1].number if page else after
        await asyncio.sleep(0)  # noqa: TID251  lets the writers on; no time passes
    return found


CHECKS: Final[tuple[Check, ...]] = (
    a_success_comes_back_as_it_was_recorded,
    a_failure_comes_back_as_it_was_recorded,
    a_success_without_a_body_has_no_value,
    a_strangers_message_never_stops_the_recording,
    numbers_follow_the_order_given,
    the_version_grows_with_each_outcome_and_change_of_state,
    an_outcome_is_recorded_once,
    a_group_may_span_jobs,
    a_job_completes_with_its_last_outcome,
    failed_tries_are_kept_with_their_item,
    the_tries_of_a_stale_owner_are_not_kept,
    what_is_certain_of_the_output_is_remembered,
    nothing_is_skipped_or_seen_twice_while_four_record,
)
