"""Checks of a store: who may run what."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from headrace.errors import ErrorCode, LeaseLost
from headrace.jobs import KEY, JobState, Leased
from headrace.model import ItemState, Priority
from headrace.testing.store_world import (
    LEASE_S,
    Check,
    World,
    owner,
    raises,
    seen,
    submit,
    succeeded,
    take,
)


async def flows_are_most_urgent_first_then_oldest(world: World) -> None:
    first = await submit(world.store)
    urgent = await submit(world.store, priority=Priority.URGENT, tenant="t")
    last = await submit(world.store)
    await submit(world.store, route="elsewhere")
    flows = await world.store.flows(["r", "none"])
    assert [flow.job for flow in flows] == [urgent.number, first.number, last.number]
    assert (flows[0].job_id, flows[0].tenant, flows[0].route) == (urgent.id, "t", "r")
    await world.store.set_priority(last.number, Priority.URGENT)
    flows = await world.store.flows(["r"])
    assert [flow.job for flow in flows] == [urgent.number, last.number, first.number]


async def a_flow_says_how_long_its_job_may_take(world: World) -> None:
    await submit(world.store, deadline_s=100.0)
    world.advance(40)
    (flow,) = await world.store.flows(["r"])
    assert flow.max_deadline_s is not None
    assert 55 < flow.max_deadline_s <= 60


async def a_flow_says_how_many_of_its_items_are_left(world: World) -> None:
    job = await submit(world.store, 5)
    epoch = await owner(world.store)
    lease, *_ = await take(world.store, epoch, job, 2)
    await world.store.record(epoch, [succeeded(lease)])
    (flow,) = await world.store.flows(["r"])
    assert flow.left == 4


async def a_flow_names_the_key_of_its_job(world: World) -> None:
    await submit(world.store, metadata={"batch": "b", KEY: "key_1"})
    await submit(world.store, metadata={"batch": "c"})
    await submit(world.store)
    flows = await world.store.flows(["r"])
    assert [flow.key for flow in flows] == ["key_1", "", ""]


async def a_job_without_queued_items_is_no_flow(world: World) -> None:
    job = await submit(world.store, 2)
    await take(world.store, await owner(world.store), job)
    assert await world.store.flows(["r"]) == []


async def a_lease_takes_the_first_items_and_starts_the_job(world: World) -> None:
    job = await submit(world.store, 5)
    world.advance(7)
    leases = await take(world.store, await owner(world.store), job, 2)
    assert [lease.seq for lease in leases] == [0, 1]
    assert {(lease.job, lease.generation) for lease in leases} == {(job.number, 0)}
    assert all(6 < lease.queued_s < 9 for lease in leases)
    found = await seen(world.store, job)
    assert found.state is JobState.IN_PROGRESS
    assert found.started_at is not None
    assert (found.counts.queued, found.counts.running) == (3, 2)


async def one_lease_may_take_from_several_jobs(world: World) -> None:
    first, second = await submit(world.store), await submit(world.store)
    wants = [(second.number, 2), (first.number, 1), (99, 5), (first.number, 0)]
    leases = await world.store.lease(await owner(world.store), wants)
    found = [(lease.job, lease.seq) for lease in leases]
    assert found == [(second.number, 0), (second.number, 1), (first.number, 0)]


async def an_item_has_one_owner_at_a_time(world: World) -> None:
    job = await submit(world.store, 40)
    owners = [await owner(world.store) for _ in range(4)]

    async def drain(epoch: int) -> list[Leased]:
        mine: list[Leased] = []
        while some := await take(world.store, epoch, job, 3):
            mine += some
        return mine

    taken = await asyncio.gather(*map(drain, owners))
    items = [lease.item for mine in taken for lease in mine]
    assert len(items) == len(set(items)) == 40


async def an_epoch_is_never_used_again(world: World) -> None:
    first = await owner(world.store)
    await world.store.retire(first)
    assert await owner(world.store) > first


async def a_lapsed_owner_leases_nothing(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    world.advance(LEASE_S + 1)
    await raises(LeaseLost, take(world.store, epoch, job))
    assert (await seen(world.store, job)).state is JobState.QUEUED


async def a_pulse_keeps_its_owner_alive(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    await take(world.store, epoch, job)
    pulse = world.store.pulse(epoch, LEASE_S)
    try:
        for _ in range(3):
            world.advance(LEASE_S - 5)
            assert await asyncio.to_thread(pulse.renew)
        assert await world.store.rescue(3) == 0
        assert (await seen(world.store, job)).counts.running == 3
    finally:
        await asyncio.to_thread(pulse.close)


async def a_pulse_says_that_its_lease_is_lost(world: World) -> None:
    epoch = await owner(world.store)
    pulse = world.store.pulse(epoch, LEASE_S)
    try:
        world.advance(LEASE_S + 1)
        assert not await asyncio.to_thread(pulse.renew)
        await world.store.rescue(3)
        assert not await asyncio.to_thread(pulse.renew)
    finally:
        await asyncio.to_thread(pulse.close)
        await asyncio.to_thread(pulse.close)


async def a_pulse_brings_the_states_of_the_jobs_held(world: World) -> None:
    first, second = await submit(world.store), await submit(world.store)
    await submit(world.store)
    epoch = await owner(world.store)
    await world.store.lease(epoch, [(first.number, 1), (second.number, 1)])
    await world.store.cancel(second.number)
    pulse = world.store.pulse(epoch, LEASE_S)
    try:
        assert await asyncio.to_thread(pulse.states) == {
            first.number: JobState.IN_PROGRESS,
            second.number: JobState.CANCELLING,
        }
    finally:
        await asyncio.to_thread(pulse.close)


async def released_items_wait_again_with_their_attempts(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    first, second, third = await take(world.store, epoch, job)
    await world.store.release(epoch, [replace(first, attempts=4), second])
    found = await seen(world.store, job)
    assert (found.counts.queued, found.counts.running) == (2, 1)
    again = await take(world.store, epoch, job)
    assert [(lease.seq, lease.attempts) for lease in again] == [(0, 4), (1, 0)]
    await world.store.release(await owner(world.store), [third])
    assert (await seen(world.store, job)).counts.running == 3


async def rescue_queues_what_a_dead_owner_held(world: World) -> None:
    job = await submit(world.store, 4)
    dead = await owner(world.store)
    lost = await take(world.store, dead, job, 2)
    world.advance(LEASE_S + 1)
    alive = await owner(world.store)
    kept = await take(world.store, alive, job)
    assert await world.store.rescue(3) == 2
    assert await world.store.rescue(3) == 0
    assert (await seen(world.store, job)).counts.running == 2
    again = await take(world.store, alive, job)
    assert [lease.item for lease in again] == [lease.item for lease in lost]
    assert len(kept) == 2


async def a_stale_record_changes_nothing(world: World) -> None:
    job = await submit(world.store, 1)
    dead = await owner(world.store)
    (lost,) = await take(world.store, dead, job)
    world.advance(LEASE_S + 1)
    await world.store.rescue(3)
    alive = await owner(world.store)
    (held,) = await take(world.store, alive, job)
    before = await seen(world.store, job)
    recorded = await world.store.record(dead, [succeeded(lost, b"stale")])
    assert recorded.numbers == {}
    await world.store.release(dead, [lost])
    assert await seen(world.store, job) == before
    await world.store.record(alive, [succeeded(held, b"fresh")])
    (outcome,) = await world.store.outcomes(job.number)
    assert outcome.value == b"fresh"


async def an_item_that_kills_its_owners_is_poisoned(world: World) -> None:
    job = await submit(world.store, 2)
    for _ in range(3):
        epoch = await owner(world.store)
        (lease,) = await take(world.store, epoch, job, 1)
        assert lease.seq == 0
        world.advance(LEASE_S + 1)
        assert await world.store.rescue(3) == 1
    found = await seen(world.store, job)
    assert (found.counts.failed, found.counts.queued) == (1, 1)
    (outcome,) = await world.store.outcomes(job.number)
    assert (outcome.index, outcome.state) == (0, ItemState.FAILED)
    assert outcome.failure is not None
    assert outcome.failure.code == ErrorCode.POISONED


async def reclaim_queues_the_running_items_of_one_job(world: World) -> None:
    first, second = await submit(world.store), await submit(world.store)
    epoch = await owner(world.store)
    wants = [(first.number, 2), (second.number, 2)]
    leases = await world.store.lease(epoch, wants)
    assert await world.store.reclaim(first.number) == 2
    assert (await seen(world.store, first)).counts.running == 0
    assert (await seen(world.store, second)).counts.running == 2
    recorded = await world.store.record(epoch, [succeeded(leases[0])])
    assert recorded.numbers == {}


async def who_retires_gives_back_what_it_holds(world: World) -> None:
    job = await submit(world.store)
    epoch = await owner(world.store)
    await take(world.store, epoch, job)
    await world.store.retire(epoch)
    await world.store.retire(epoch)
    assert (await seen(world.store, job)).counts.queued == 3
    await raises(LeaseLost, take(world.store, epoch, job))


CHECKS: Final[tuple[Check, ...]] = (
    flows_are_most_urgent_first_then_oldest,
    a_flow_says_how_long_its_job_may_take,
    a_flow_says_how_many_of_its_items_are_left,
    a_flow_names_the_key_of_its_job,
    a_job_without_queued_items_is_no_flow,
    a_lease_takes_the_first_items_and_starts_the_job,
    one_lease_may_take_from_several_jobs,
    an_item_has_one_owner_at_a_time,
    an_epoch_is_never_used_again,
    a_lapsed_owner_leases_nothing,
    a_pulse_keeps_its_owner_alive,
    a_pulse_says_that_its_lease_is_lost,
    a_pulse_brings_the_states_of_the_jobs_held,
    released_items_wait_again_with_their_attempts,
    rescue_queues_what_a_dead_owner_held,
    a_stale_record_changes_nothing,
    an_item_that_kills_its_owners_is_poisoned,
    reclaim_queues_the_running_items_of_one_job,
    who_retires_gives_back_what_it_holds,
)
