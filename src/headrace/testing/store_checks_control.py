"""Checks of a store: how people and deadlines change the course of a job."""

from __future__ import annotations

from typing import Final

from headrace.errors import ErrorCode, WrongState
from headrace.jobs import FailurePolicy, JobState, NewJob
from headrace.model import ItemState
from headrace.testing.store_world import (
    LEASE_S,
    Check,
    World,
    failed,
    finish_all,
    new_items,
    owner,
    raises,
    seen,
    states,
    submit,
    succeeded,
    sweep_all,
    take,
)


async def a_cancel_keeps_what_has_ended_and_waits_for_what_runs(world: World) -> None:
    job = await submit(world.store, 5)
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job, 2)
    await world.store.record(epoch, [succeeded(first)])
    assert (await world.store.cancel(job.number)).state is JobState.CANCELLING
    await sweep_all(world.store)
    found = await world.store.cancel(job.number)
    assert found.state is JobState.CANCELLING
    assert (found.counts.succeeded, found.counts.running) == (1, 1)
    assert found.counts.cancelled == 3
    recorded = await world.store.record(epoch, [failed(second, ItemState.CANCELLED)])
    assert recorded.jobs[job.number].state is JobState.FINALIZING
    assert (await world.store.conclude(job.number)).state is JobState.CANCELLED
    assert (await states(world.store, job))[0] is ItemState.SUCCEEDED
    await raises(WrongState, world.store.cancel(job.number))


async def a_cancelled_item_says_so(world: World) -> None:
    job = await submit(world.store, 1)
    world.advance(3)
    await world.store.cancel(job.number)
    await sweep_all(world.store)
    (outcome,) = await world.store.outcomes(job.number)
    assert (outcome.id, outcome.index) == ("item-0", 0)
    assert outcome.state is ItemState.CANCELLED
    assert outcome.failure is not None
    assert outcome.failure.code == ErrorCode.CANCELLED
    assert 2 < outcome.trace.queued_s < 5


async def items_of_a_cancelling_job_are_not_leased(world: World) -> None:
    job = await submit(world.store)
    await world.store.cancel(job.number)
    assert await world.store.flows(["r"]) == []
    assert await take(world.store, await owner(world.store), job) == []


async def a_rescued_item_of_a_cancelling_job_is_cancelled(world: World) -> None:
    job = await submit(world.store, 1)
    await take(world.store, await owner(world.store), job)
    await world.store.cancel(job.number)
    world.advance(LEASE_S + 1)
    await world.store.rescue(1)
    await sweep_all(world.store)
    assert await states(world.store, job) == {0: ItemState.CANCELLED}
    assert (await seen(world.store, job)).state is JobState.FINALIZING


async def a_job_may_be_cancelled_while_it_is_validated(world: World) -> None:
    job, _ = await world.store.create(NewJob("r"))
    await world.store.add(job.number, new_items(2))
    cancelled = await world.store.cancel(job.number)
    assert cancelled.ending is JobState.CANCELLED
    await raises(WrongState, world.store.add(job.number, new_items(2, 2)))
    await raises(WrongState, world.store.seal(job.number))
    await sweep_all(world.store)
    assert (await world.store.conclude(job.number)).state is JobState.CANCELLED


async def a_paused_job_starts_nothing_until_it_is_resumed(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    (first,) = await take(world.store, epoch, job, 1)
    paused = await world.store.pause(job.number, "operator")
    assert (paused.state, paused.pause_reason) == (JobState.PAUSED, "operator")
    assert await world.store.flows(["r"]) == []
    assert await take(world.store, epoch, job) == []
    await world.store.record(epoch, [succeeded(first)])
    await raises(WrongState, world.store.pause(job.number, "again"))
    resumed = await world.store.resume(job.number)
    assert (resumed.state, resumed.pause_reason) == (JobState.IN_PROGRESS, "")
    assert len(await take(world.store, epoch, job)) == 2
    await raises(WrongState, world.store.resume(job.number))


async def a_job_paused_before_it_began_is_queued_again(world: World) -> None:
    job = await submit(world.store)
    await world.store.pause(job.number, "budget")
    assert (await world.store.resume(job.number)).state is JobState.QUEUED


async def a_passed_deadline_expires_what_has_not_run(world: World) -> None:
    job = await submit(world.store, 3, deadline_s=10.0)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job, 1)
    await sweep_all(world.store)
    assert (await seen(world.store, job)).state is JobState.IN_PROGRESS
    world.advance(11)
    await sweep_all(world.store)
    found = await seen(world.store, job)
    assert (found.state, found.ending) == (JobState.CANCELLING, JobState.EXPIRED)
    assert (found.counts.expired, found.counts.running) == (2, 1)
    await world.store.record(epoch, [succeeded(lease)])
    assert (await world.store.conclude(job.number)).state is JobState.EXPIRED
    found_states = await states(world.store, job)
    assert found_states[0] is ItemState.SUCCEEDED
    assert found_states[2] is ItemState.EXPIRED


async def the_first_failure_ends_a_job_that_demands_all(world: World) -> None:
    job = await submit(world.store, 4, on_failure=FailurePolicy.parse("all"))
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job, 2)
    recorded = await world.store.record(epoch, [failed(first)])
    assert recorded.jobs[job.number].state is JobState.CANCELLING
    assert recorded.jobs[job.number].error
    await sweep_all(world.store)
    await world.store.record(epoch, [succeeded(second)])
    ended = await world.store.conclude(job.number)
    assert ended.state is JobState.FAILED
    assert (ended.counts.succeeded, ended.counts.skipped) == (1, 2)
    page = await world.store.outcomes(job.number)
    codes = {outcome.failure.code for outcome in page if outcome.failure}
    assert codes == {ErrorCode.BAD_CALL, ErrorCode.SKIPPED}


async def a_share_of_failures_ends_a_job_only_above_it(world: World) -> None:
    job = await submit(world.store, 4, on_failure=FailurePolicy(0.5))
    epoch = await owner(world.store)
    leases = await take(world.store, epoch, job)
    two = await world.store.record(epoch, [failed(item) for item in leases[:2]])
    assert two.jobs[job.number].state is JobState.IN_PROGRESS
    three = await world.store.record(epoch, [failed(leases[2])])
    assert three.jobs[job.number].state is JobState.CANCELLING


async def a_retry_queues_all_but_successes_in_a_new_generation(world: World) -> None:
    job = await submit(world.store, 4)
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job, 2)
    await world.store.record(epoch, [succeeded(first), failed(second)])
    await raises(WrongState, world.store.retry(job.number))
    await world.store.cancel(job.number)
    await sweep_all(world.store)
    await world.store.conclude(job.number)
    assert await world.store.retry(job.number) == 3
    found = await seen(world.store, job)
    assert (found.state, found.ending) == (JobState.QUEUED, JobState.COMPLETED)
    assert (found.counts.queued, found.counts.succeeded) == (3, 1)
    assert await states(world.store, job) == {0: ItemState.SUCCEEDED}
    again = await take(world.store, epoch, job)
    assert {(item.generation, item.attempts) for item in again} == {(1, 0)}
    await world.store.record(epoch, [succeeded(second)])
    assert (await seen(world.store, job)).counts.running == 3
    await world.store.record(epoch, [succeeded(item) for item in again])
    assert (await world.store.conclude(job.number)).state is JobState.COMPLETED


async def the_former_outcome_stays_among_the_attempts(world: World) -> None:
    job = await submit(world.store, 1)
    await finish_all(world.store, job, ok=False)
    assert await world.store.retry(job.number) == 1
    (former,) = await world.store.attempts(job.number, 0)
    assert (former.code, former.message, former.status) == ("bad_call", "no", 400)
    assert (former.generation, former.attempt) == (0, 1)


async def a_reader_goes_on_from_its_number_after_a_retry(world: World) -> None:
    job = await submit(world.store, 3)
    epoch = await owner(world.store)
    first, *others = await take(world.store, epoch, job)
    done = [succeeded(first), *map(failed, others)]
    last = max((await world.store.record(epoch, done)).numbers.values())
    await world.store.conclude(job.number)
    await world.store.retry(job.number)
    await finish_all(world.store, job)
    page = await world.store.outcomes(job.number, last)
    assert [outcome.index for outcome in page] == [1, 2]


async def a_retry_without_failures_changes_nothing(world: World) -> None:
    job = await submit(world.store, 1)
    await finish_all(world.store, job)
    ended = await world.store.conclude(job.number)
    assert await world.store.retry(job.number) == 0
    assert await seen(world.store, job) == ended


async def an_expired_job_may_run_again_after_a_retry(world: World) -> None:
    job = await submit(world.store, 1, deadline_s=10.0)
    world.advance(11)
    await sweep_all(world.store)
    await world.store.conclude(job.number)
    await world.store.retry(job.number)
    await sweep_all(world.store)
    assert (await seen(world.store, job)).state is JobState.QUEUED


async def a_job_whose_items_have_ended_waits_to_be_concluded(world: World) -> None:
    await submit(world.store, 1)
    job = await submit(world.store, 1)
    elsewhere = await submit(world.store, 1, route="elsewhere")
    for one in (job, elsewhere):
        await world.store.cancel(one.number)
    while await world.store.sweep():
        pass
    waiting = await world.store.finalizing(["r"])
    assert [found.number for found in waiting] == [job.number]
    await world.store.conclude(job.number)
    assert await world.store.finalizing(["r"]) == []


async def conclude_needs_a_finalizing_job(world: World) -> None:
    job = await submit(world.store, 1)
    await raises(WrongState, world.store.conclude(job.number))


async def a_sweep_with_nothing_to_do_does_nothing(world: World) -> None:
    job = await submit(world.store, 1)
    assert await world.store.sweep() == 0
    assert await seen(world.store, job) == job


CHECKS: Final[tuple[Check, ...]] = (
    a_cancel_keeps_what_has_ended_and_waits_for_what_runs,
    a_cancelled_item_says_so,
    items_of_a_cancelling_job_are_not_leased,
    a_rescued_item_of_a_cancelling_job_is_cancelled,
    a_job_may_be_cancelled_while_it_is_validated,
    a_paused_job_starts_nothing_until_it_is_resumed,
    a_job_paused_before_it_began_is_queued_again,
    a_passed_deadline_expires_what_has_not_run,
    the_first_failure_ends_a_job_that_demands_all,
    a_share_of_failures_ends_a_job_only_above_it,
    a_retry_queues_all_but_successes_in_a_new_generation,
    the_former_outcome_stays_among_the_attempts,
    a_reader_goes_on_from_its_number_after_a_retry,
    a_retry_without_failures_changes_nothing,
    an_expired_job_may_run_again_after_a_retry,
    a_job_whose_items_have_ended_waits_to_be_concluded,
    conclude_needs_a_finalizing_job,
    a_sweep_with_nothing_to_do_does_nothing,
)
