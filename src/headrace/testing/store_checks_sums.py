"""Checks of a store: what adds up over items and jobs, and what is remembered."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from headrace.jobs import AttemptRecord, Finished, Job, JobState, Leased, Spent, Trouble
from headrace.model import Usage
from headrace.testing.store_world import (
    LEASE_S,
    Check,
    World,
    failed,
    finish_all,
    owner,
    seen,
    submit,
    succeeded,
    sweep_all,
    take,
)

DAY_S: Final = 86_400.0
ODD_NAMES: Final = (
    "50%",
    "50_",
    "50x",
    "5",
    "50%/a",
    "A",
    "a",
    "é",
    "\U0001f600",
    "\\",
)


def costing(done: Finished, usage: Usage | None, cost_usd: str | None) -> Finished:
    """Return the same, as an outcome that was paid for."""
    cost = None if cost_usd is None else Decimal(cost_usd)
    outcome = replace(done.outcome, usage=usage, cost_usd=cost)
    return replace(done, outcome=outcome)


def spent_by(job: Job) -> Spent:
    """Return what a job's row says was spent."""
    return Spent(job.input_tokens, job.output_tokens, job.cost_usd)


async def what_outcomes_cost_adds_up_in_their_job(world: World) -> None:
    job = await submit(world.store, 3)
    epoch = await owner(world.store)
    first, second, third = await take(world.store, epoch, job)
    done = [
        costing(succeeded(first), Usage(11, 7), "0.000000003"),
        costing(failed(second), Usage(100, 0), "1.25"),
        costing(succeeded(third), None, None),
    ]
    recorded = await world.store.record(epoch, done[:1])
    assert spent_by(recorded.jobs[job.number]) == Spent(11, 7, Decimal("3E-9"))
    await world.store.record(epoch, done[1:])
    expected = Spent(111, 7, Decimal("1.250000003"))
    assert spent_by(await seen(world.store, job)) == expected


async def an_outcomes_cost_comes_back_to_the_billionth(world: World) -> None:
    job = await submit(world.store, 4)
    epoch = await owner(world.store)
    leases = await take(world.store, epoch, job)
    told = ["0.0000000014", None, "0", "12345.678901234"]
    done = [
        costing(succeeded(lease), None, cost)
        for lease, cost in zip(leases, told, strict=True)
    ]
    await world.store.record(epoch, done)
    page = await world.store.outcomes(job.number)
    found = [outcome.cost_usd for outcome in page]
    assert found == [
        Decimal("1E-9"),
        None,
        Decimal(0),
        Decimal("12345.678901234"),
    ]


async def a_strangers_count_of_tokens_never_stops_the_recording(world: World) -> None:
    job = await submit(world.store, 2)
    epoch = await owner(world.store)
    first, second = await take(world.store, epoch, job)
    huge = costing(succeeded(first), Usage(2**62, -5), "Infinity")
    await world.store.record(epoch, [huge])
    await world.store.record(epoch, [costing(succeeded(second), Usage(1, 2), "1")])
    found = await seen(world.store, job)
    assert found.counts.succeeded == 2
    assert (found.input_tokens, found.output_tokens) == (2**53 + 1, 2)


async def a_stale_outcome_costs_its_job_nothing(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    done = costing(succeeded(lease), Usage(5, 5), "1")
    world.advance(LEASE_S + 1)
    await world.store.rescue(5)
    await world.store.record(epoch, [done])
    assert spent_by(await seen(world.store, job)) == Spent()
    again = await owner(world.store)
    (lease,) = await take(world.store, again, job)
    done = costing(succeeded(lease), Usage(5, 5), "1")
    await world.store.record(again, [done, done])
    await world.store.record(again, [done])
    assert spent_by(await seen(world.store, job)) == Spent(5, 5, Decimal(1))


async def a_retry_keeps_what_was_spent(world: World) -> None:
    job = await submit(world.store, 1)
    for expected in (1, 2):
        epoch = await owner(world.store)
        (lease,) = await take(world.store, epoch, job)
        await world.store.record(epoch, [costing(failed(lease), Usage(5, 1), "1")])
        now = await seen(world.store, job)
        assert spent_by(now) == Spent(5 * expected, expected, Decimal(expected))
        await world.store.retry(job.number)
        assert spent_by(await seen(world.store, job)) == spent_by(now)


async def a_tenants_jobs_add_up(world: World) -> None:
    assert await world.store.spent("a") == Spent()
    made = [await submit(world.store, 1, tenant=t) for t in ("a", "b", "a")]
    epoch = await owner(world.store)
    for n, job in enumerate(made, 1):
        (lease,) = await take(world.store, epoch, job)
        done = costing(succeeded(lease), Usage(n, 10 * n), f"0.{n}")
        await world.store.record(epoch, [done])
    assert await world.store.spent("a") == Spent(4, 40, Decimal("0.4"))
    assert await world.store.spent("b") == Spent(2, 20, Decimal("0.2"))
    await world.store.remove(made[0].number)
    assert await world.store.spent("a") == Spent(3, 30, Decimal("0.3"))


def tried(lease: Leased, endpoint: str, code: str) -> tuple[int, AttemptRecord]:
    """Return a failed try of a leased item."""
    record = AttemptRecord(
        lease.seq, lease.generation, 1, code, f"{code}!", 2e9, endpoint=endpoint
    )
    return lease.item, record


async def troubles_are_told_by_endpoint_and_code(world: World) -> None:
    job, other = await submit(world.store, 3), await submit(world.store, 1)
    epoch = await owner(world.store)
    leases = await take(world.store, epoch, job)
    (foreign,) = await take(world.store, epoch, other)
    tries = [tried(lease, "east", "overloaded") for lease in leases]
    tries += [tried(leases[0], "west", "timed_out")] * 2
    tries += [tried(leases[1], "east", "timed_out"), tried(foreign, "x", "timed_out")]
    done = [failed(lease) for lease in [*leases, foreign]]
    await world.store.record(epoch, done, tries)
    await world.store.retry(job.number)
    assert await world.store.troubles(job.number) == [
        Trouble("east", "overloaded", 3, "overloaded!"),
        Trouble("west", "timed_out", 2, "timed_out!"),
        Trouble("east", "timed_out", 1, "timed_out!"),
    ]
    assert await world.store.troubles(job.number + 100) == []


async def at_most_a_hundred_kinds_of_trouble_are_told(world: World) -> None:
    job = await submit(world.store, 1)
    epoch = await owner(world.store)
    (lease,) = await take(world.store, epoch, job)
    tries = [tried(lease, f"e{n}", "timed_out") for n in range(120)]
    await world.store.record(epoch, [failed(lease)], [*tries, *tries[110:]])
    found = await world.store.troubles(job.number)
    assert len(found) == 100
    assert {t.endpoint for t in found[:10]} == {f"e{n}" for n in range(110, 120)}


async def queued_items_are_counted_over_jobs(world: World) -> None:
    assert await world.store.queued() == 0
    first = await submit(world.store, 5, route="a")
    second = await submit(world.store, 3, route="b")
    epoch = await owner(world.store)
    await take(world.store, epoch, first, 2)
    leases = await take(world.store, epoch, second, 1)
    await world.store.record(epoch, [succeeded(lease) for lease in leases])
    await world.store.pause(second.number, "operator")
    assert await world.store.queued() == 5
    assert await world.store.queued(["a"]) == 3
    assert await world.store.queued(["b", "none"]) == 2
    assert await world.store.queued([]) == 0


async def what_has_ended_is_not_queued(world: World) -> None:
    done = await submit(world.store, 3)
    await finish_all(world.store, done)
    gone, left = await submit(world.store, 4), await submit(world.store, 2)
    await world.store.cancel(gone.number)
    await sweep_all(world.store)
    await world.store.conclude(gone.number)
    await world.store.remove(done.number)
    assert await world.store.queued() == 2
    assert (await seen(world.store, left)).state is JobState.QUEUED


async def notes_come_back_by_the_beginning_of_their_names(world: World) -> None:
    notes = {name: name.encode() for name in ODD_NAMES}
    await world.store.remember(notes)
    assert await world.store.recall("") == notes
    for prefix in (*ODD_NAMES, "%", "_", "no"):
        wanted = {n: v for n, v in notes.items() if n.startswith(prefix)}
        assert await world.store.recall(prefix) == wanted


async def a_note_is_written_over_an_older_one(world: World) -> None:
    await world.store.remember({"a": b"1", "b": b"2"})
    await world.store.remember({"b": b"\0\xff", "c": b""})
    await world.store.remember({})
    expected = {"a": b"1", "b": b"\0\xff", "c": b""}
    assert await world.store.recall("") == expected


async def a_strangers_name_never_stops_the_remembering(world: World) -> None:
    await world.store.remember({"a\0": b"1", "a\ud800": b"2"})
    found = await world.store.recall("a")
    assert found == {"a\ufffd": b"1", "a?": b"2"}
    assert await world.store.recall("a\0") == {"a\ufffd": b"1"}


async def a_note_that_nobody_writes_again_is_forgotten(world: World) -> None:
    await world.store.remember({"old": b"1", "used": b"1"})
    world.advance(20 * DAY_S)
    await world.store.remember({"used": b"2"})
    world.advance(20 * DAY_S)
    await world.store.remember({"new": b"3"})
    assert await world.store.recall("") == {"new": b"3", "used": b"2"}


CHECKS: Final[tuple[Check, ...]] = (
    what_outcomes_cost_adds_up_in_their_job,
    an_outcomes_cost_comes_back_to_the_billionth,
    a_strangers_count_of_tokens_never_stops_the_recording,
    a_stale_outcome_costs_its_job_nothing,
    a_retry_keeps_what_was_spent,
    a_tenants_jobs_add_up,
    troubles_are_told_by_endpoint_and_code,
    at_most_a_hundred_kinds_of_trouble_are_told,
    queued_items_are_counted_over_jobs,
    what_has_ended_is_not_queued,
    notes_come_back_by_the_beginning_of_their_names,
    a_note_is_written_over_an_older_one,
    a_strangers_name_never_stops_the_remembering,
    a_note_that_nobody_writes_again_is_forgotten,
)
