"""Checks of a store: how jobs come in, are seen, and go."""

from __future__ import annotations

import random
from typing import Final

from headrace.errors import DuplicateItem, NotFound, WrongState
from headrace.jobs import FailurePolicy, JobState, NewItem, NewJob
from headrace.model import Priority
from headrace.testing.store_world import (
    Check,
    World,
    finish_all,
    new_items,
    owner,
    raises,
    seen,
    states,
    submit,
    sweep_all,
    take,
)


async def a_job_comes_back_as_it_was_submitted(world: World) -> None:
    new = NewJob(
        route="chat",
        name="/out/é.jsonl",
        priority=Priority.HIGH,
        tenant="a",
        idempotency_key="k",
        deadline_s=60.0,
        on_failure=FailurePolicy(0.5),
        metadata={"a": "b", "nul": "\0"},
    )
    job, is_new = await world.store.create(new)
    assert is_new
    assert job.id.startswith("job_")
    assert len(job.id) == 24
    assert (job.state, job.version) == (JobState.VALIDATING, 0)
    assert (job.route, job.name, job.tenant) == (new.route, new.name, new.tenant)
    assert (job.priority, job.on_failure) == (new.priority, new.on_failure)
    assert (job.metadata, job.idempotency_key) == (new.metadata, "k")
    assert job.deadline_at is not None
    assert abs(job.deadline_at - job.created_at - 60) < 1
    assert await world.store.job(job.id) == job
    assert await world.store.job("/out/é.jsonl") == job
    assert await world.store.job(job.number) == job


async def the_same_idempotency_key_returns_the_first_job(world: World) -> None:
    new = NewJob("r", name="n", idempotency_key="once")
    first, _ = await world.store.create(new)
    second, is_new = await world.store.create(new)
    assert not is_new
    assert second.id == first.id


async def a_job_submitted_whole_is_as_one_that_came_in_steps(world: World) -> None:
    new = NewJob("r", name="n", deadline_s=60.0, metadata={"a": "b"})
    job, is_new = await world.store.submit(new, new_items(3))
    assert is_new
    assert (job.state, job.version, job.counts.queued) == (JobState.QUEUED, 1, 3)
    assert job.deadline_at is not None
    assert abs(job.deadline_at - job.created_at - 60) < 1
    assert await world.store.job("n") == job
    leases = await take(world.store, await owner(world.store), job)
    assert [lease.custom_id for lease in leases] == ["item-0", "item-1", "item-2"]
    assert [lease.payload for lease in leases] == [b'{"n":%d}' % n for n in range(3)]


async def a_job_submitted_whole_without_items_is_finalizing(world: World) -> None:
    job, _ = await world.store.submit(NewJob("r"), [])
    assert job.state is JobState.FINALIZING
    assert await world.store.job(job.number) == job


async def a_job_submitted_whole_again_is_the_first_one(world: World) -> None:
    new = NewJob("r", idempotency_key="once")
    first, _ = await world.store.submit(new, new_items(1))
    second, is_new = await world.store.submit(new, new_items(5))
    assert not is_new
    assert second == first
    named = NewJob("r", name="n")
    await world.store.submit(named, new_items(1))
    await raises(WrongState, world.store.submit(named, new_items(1)))


async def a_job_whose_items_are_refused_is_not_submitted_at_all(world: World) -> None:
    twice = [*new_items(2), NewItem("item-0", b"")]
    error = await raises(DuplicateItem, world.store.submit(NewJob("r"), twice))
    assert isinstance(error, DuplicateItem)
    assert (error.custom_id, error.seq) == ("item-0", 2)
    bad = [NewItem("a\0b", b"")]
    await raises(ValueError, world.store.submit(NewJob("r"), bad))
    assert await world.store.jobs() == []


async def a_name_is_borne_by_one_job(world: World) -> None:
    await world.store.create(NewJob("r", name="n"))
    await raises(WrongState, world.store.create(NewJob("r", name="n")))
    await world.store.create(NewJob("r"))
    await world.store.create(NewJob("r"))


async def an_unknown_job_is_not_found(world: World) -> None:
    assert await world.store.job("nobody") is None
    assert await world.store.job("no\0body") is None
    assert await world.store.job(99) is None
    assert await world.store.outcomes(99) == []
    await raises(NotFound, world.store.cancel(99))
    await raises(NotFound, world.store.add(99, new_items(1)))
    await raises(NotFound, world.store.set_priority(99, 1))


async def items_are_added_all_or_none(world: World) -> None:
    job, _ = await world.store.create(NewJob("r"))
    await world.store.add(job.number, new_items(3))
    twice = [*new_items(2, 3), NewItem("item-1", b"")]
    error = await raises(DuplicateItem, world.store.add(job.number, twice))
    assert isinstance(error, DuplicateItem)
    assert (error.custom_id, error.seq) == ("item-1", 5)
    assert (await seen(world.store, job)).counts.total == 3
    await world.store.add(job.number, new_items(2, 3))
    assert (await world.store.seal(job.number)).counts.queued == 5


async def a_custom_id_stands_once_in_one_addition(world: World) -> None:
    job, _ = await world.store.create(NewJob("r"))
    twice = [*new_items(2), NewItem("item-0", b"")]
    error = await raises(DuplicateItem, world.store.add(job.number, twice))
    assert isinstance(error, DuplicateItem)
    assert (error.custom_id, error.seq) == ("item-0", 2)
    assert (await seen(world.store, job)).counts.total == 0


async def a_custom_id_may_stand_in_two_jobs(world: World) -> None:
    first = await submit(world.store, 2)
    second = await submit(world.store, 2)
    assert first.counts == second.counts


async def a_nul_in_a_custom_id_is_refused(world: World) -> None:
    job, _ = await world.store.create(NewJob("r"))
    bad = [NewItem("a\0b", b"")]
    await raises(ValueError, world.store.add(job.number, bad))


async def a_sealed_job_takes_no_more_items(world: World) -> None:
    job = await submit(world.store)
    assert job.state is JobState.QUEUED
    await raises(WrongState, world.store.add(job.number, new_items(1, 9)))
    await raises(WrongState, world.store.seal(job.number))


async def an_empty_job_is_finalizing_when_sealed(world: World) -> None:
    job = await submit(world.store, 0)
    assert job.state is JobState.FINALIZING
    assert (await world.store.conclude(job.number)).state is JobState.COMPLETED


async def payloads_come_back_byte_for_byte(world: World) -> None:
    noise = random.Random(1).randbytes(3000)  # noqa: S311, TID251  seeded bytes
    bodies = [b"", b"\0\xff", b"a" * 1023, b"a" * 1024, b"ab" * 9000, noise]
    job, _ = await world.store.create(NewJob("r"))
    items = [NewItem(f"ü{n}", body) for n, body in enumerate(bodies)]
    await world.store.add(job.number, items)
    await world.store.seal(job.number)
    leases = await take(world.store, await owner(world.store), job)
    assert [lease.payload for lease in leases] == bodies
    assert [lease.custom_id for lease in leases] == [i.custom_id for i in items]


async def many_items_at_once_come_back_in_their_order(world: World) -> None:
    job, _ = await world.store.submit(NewJob("r"), new_items(613))
    leases = await take(world.store, await owner(world.store), job, 1_000)
    assert [lease.seq for lease in leases] == list(range(613))
    assert [NewItem(x.custom_id, x.payload) for x in leases] == new_items(613)


async def jobs_are_listed_newest_first_in_pages(world: World) -> None:
    made = [(await submit(world.store, 1)).id for _ in range(5)]
    first = await world.store.jobs(limit=2)
    rest = await world.store.jobs(before=first[-1].number)
    assert [job.id for job in [*first, *rest]] == made[::-1]


async def a_removed_job_leaves_nothing_and_frees_its_name(world: World) -> None:
    job = await submit(world.store, 5, name="n", idempotency_key="k")
    await finish_all(world.store, job)
    await world.store.remove(job.number)
    assert await world.store.job("n") is None
    assert await world.store.job(job.id) is None
    assert await world.store.jobs() == []
    assert await states(world.store, job) == {}
    again, is_new = await world.store.create(NewJob("r", name="n", idempotency_key="k"))
    assert is_new
    assert again.number > job.number
    await world.store.remove(job.number)
    await sweep_all(world.store)


async def a_job_that_runs_is_not_removed(world: World) -> None:
    job = await submit(world.store)
    leases = await take(world.store, await owner(world.store), job)
    await raises(WrongState, world.store.remove(job.number))
    assert len(leases) == (await seen(world.store, job)).counts.running
    world.advance(60)
    await world.store.remove(job.number)
    assert await world.store.job(job.id) is None


CHECKS: Final[tuple[Check, ...]] = (
    a_job_comes_back_as_it_was_submitted,
    the_same_idempotency_key_returns_the_first_job,
    a_job_submitted_whole_is_as_one_that_came_in_steps,
    a_job_submitted_whole_without_items_is_finalizing,
    a_job_submitted_whole_again_is_the_first_one,
    a_job_whose_items_are_refused_is_not_submitted_at_all,
    a_name_is_borne_by_one_job,
    an_unknown_job_is_not_found,
    items_are_added_all_or_none,
    a_custom_id_stands_once_in_one_addition,
    a_custom_id_may_stand_in_two_jobs,
    a_nul_in_a_custom_id_is_refused,
    a_sealed_job_takes_no_more_items,
    an_empty_job_is_finalizing_when_sealed,
    payloads_come_back_byte_for_byte,
    many_items_at_once_come_back_in_their_order,
    jobs_are_listed_newest_first_in_pages,
    a_removed_job_leaves_nothing_and_frees_its_name,
    a_job_that_runs_is_not_removed,
)
